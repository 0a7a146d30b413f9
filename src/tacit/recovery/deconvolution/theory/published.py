r"""What the literature states about blind deconvolution, with its certainty.

Model: :math:`\hat y_l = b_l^H Z c_l`, Z = h x^T of size K x N and Frobenius norm d, L
measurements, orthonormal B, complex Gaussian C with the mean of A*A the identity;
mu_max^2 and mu_h^2 are the coherences of B and of h, S the number of sources, tau the
noise bound. ``published`` claims stand in an abstract or introduction that was read, in
the words given there; their theorems, with powers of logarithms, were not at hand and
are ``recalled``. No constant is known to us, so nothing here is a threshold or a bound:
``predict`` shows the scalings, and ``instance_bounds`` what can be proved.
"""

from tacit.recovery.published import Claim

ARR = "Ahmed, Recht and Romberg (2014), arXiv:1211.5608"
KS = "Krahmer and Stoeger (2021), arXiv:1902.11156"
KKS = "Kostin, Krahmer and Stoeger (2024), arXiv:2303.10030"
LLSW = "Li, Ling, Strohmer and Wei (2019), arXiv:1606.04933"
CFWY = "Chen, Fan, Wang and Yan (2023), arXiv:2008.01724"
MWCC = "Ma, Wang, Chi and Chen (2020), arXiv:1711.10467"
LLB = "Li, Lee and Bresler (2015), arXiv:1505.03399"
JKS = "Jung, Krahmer and Stoeger (2018), arXiv:1704.04178"
LS = "Ling and Strohmer (2019), arXiv:1703.08642"

_CONVEX = "nuclear norm minimisation"
_DESCENT = "descent from a spectral start"
_REGULARISED = "regularised descent from a spectral start"
_EITHER = f"{_CONVEX} or {_DESCENT}"


PUBLISHED: tuple[Claim, ...] = (
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="measurements",
        statement="up to constants and logarithms K + N, in random subspaces",
        certainty="published",
        source=ARR,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="measurements",
        statement="max(mu_max^2 K, mu_h^2 N) <= c L / log^3 L",
        certainty="recalled",
        source=ARR,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="error",
        statement="sqrt(min(K, N)) tau, up to a constant",
        certainty="recalled",
        source=ARR,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="lower bound",
        statement=(
            "the dimension factor is no artefact, but bad conditioning arises "
            "only for very small noise"
        ),
        certainty="published",
        source=KS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="lower bound",
        statement=(
            "for some B, h with mu_max = mu_h = 1 and all small tau: a "
            "feasible competitor at distance c sqrt(K N / L) tau"
        ),
        certainty="recalled",
        source=KS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="error",
        statement="near-optimal for realistic adversarial noise",
        certainty="published",
        source=KS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="error",
        statement=(
            "(mu log(L) / a)^(2/3) max(tau, a d) for any a > 0, if L >= C (mu "
            "/ a)^2 (K + N) log^2 L, all h with mu_h <= mu"
        ),
        certainty="recalled",
        source=KS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="error",
        statement=("square-root scaling in the noise level, for adversarial noise"),
        certainty="published",
        source=KKS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="error",
        statement="(sqrt(tau d) + tau) times a power of log L",
        certainty="recalled",
        source=KKS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="measurements",
        statement=(
            "max(mu_max^2 K, mu_h^2 N) log^3 L, the order of exact recovery; "
            "power of the logarithm uncertain"
        ),
        certainty="recalled",
        source=KKS,
    ),
    Claim(
        method=_EITHER,
        is_symmetric=False,
        quantity="error",
        statement=(
            "optimal up to constants against random noise, for random Fourier "
            "and Gaussian designs"
        ),
        certainty="published",
        source=CFWY,
    ),
    Claim(
        method=_EITHER,
        is_symmetric=False,
        quantity="error",
        statement=(
            "sigma sqrt(K log L) for K = N and noise of standard deviation sigma"
        ),
        certainty="recalled",
        source=CFWY,
    ),
    Claim(
        method=_EITHER,
        is_symmetric=False,
        quantity="measurements",
        statement="mu_h^2 K log^9 L for K = N",
        certainty="recalled",
        source=CFWY,
    ),
    Claim(
        method=_REGULARISED,
        is_symmetric=False,
        quantity="measurements",
        statement=(
            "slightly larger than the information-theoretical minimum, up to logarithms"
        ),
        certainty="published",
        source=LLSW,
    ),
    Claim(
        method=_REGULARISED,
        is_symmetric=False,
        quantity="measurements",
        statement="(mu_h^2 + sigma^2) max(K, N) log^2 L",
        certainty="recalled",
        source=LLSW,
    ),
    Claim(
        method=_REGULARISED,
        is_symmetric=False,
        quantity="error",
        statement="the norm of A*(e), up to a constant",
        certainty="recalled",
        source=LLSW,
    ),
    Claim(
        method=_DESCENT,
        is_symmetric=False,
        quantity="measurements",
        statement="mu_h^2 K log^9 L for K = N",
        certainty="recalled",
        source=MWCC,
    ),
    Claim(
        method="any",
        is_symmetric=False,
        quantity="measurements",
        statement=(
            "K N for almost all subspaces, K + N - 1 with a sub-band "
            "structure, which is optimal"
        ),
        certainty="published",
        source=LLB,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="measurements",
        statement=(
            "for S sources, linear in S: the degrees of freedom, with random encoding"
        ),
        certainty="published",
        source=JKS,
    ),
    Claim(
        method=_CONVEX,
        is_symmetric=False,
        quantity="measurements",
        statement="S (K + N) times a power of log L",
        certainty="recalled",
        source=JKS,
    ),
    Claim(
        method=_REGULARISED,
        is_symmetric=False,
        quantity="measurements",
        statement=(
            "for S sources, suboptimal in theory; in practice near the "
            "degrees of freedom"
        ),
        certainty="published",
        source=LS,
    ),
    Claim(
        method=_REGULARISED,
        is_symmetric=False,
        quantity="measurements",
        statement=("S^2 (mu_h^2 + sigma^2) max(K, N) log^2 L, times condition numbers"),
        certainty="recalled",
        source=LS,
    ),
)
