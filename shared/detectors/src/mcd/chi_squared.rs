//! The chi-squared distribution (Press et al., "Numerical Recipes", third edition, sections 6.1 and 6.2).

/// The probability of a value of at most `x` with `degrees` degrees of freedom.
pub(super) fn cdf(degrees: usize, x: f64) -> f64 {
    let (a, x) = (degrees as f64 / 2.0, x / 2.0);
    if x <= 0.0 {
        return 0.0;
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 { scale * series(a, x) } else { 1.0 - scale * fraction(a, x) }
}

/// The value that `probability`, in (0, 1), of the values do not exceed: the interval that holds it is halved until it
/// is empty.
pub(super) fn quantile(degrees: usize, probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, degrees as f64);
    while cdf(degrees, high) < probability {
        high *= 2.0;
    }
    loop {
        let middle = (low + high) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if cdf(degrees, middle) < probability { low = middle } else { high = middle }
    }
}

/// The logarithm of the gamma function of a positive half-integer or integer, by Stirling's series from 10 on.
fn ln_gamma(a: f64) -> f64 {
    let (mut a, mut product) = (a, 1.0);
    while a < 10.0 {
        product *= a;
        a += 1.0;
    }
    let (inverse, square) = (1.0 / a, 1.0 / (a * a));
    let correction = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0)));
    (a - 0.5) * a.ln() - a + 0.5 * (2.0 * std::f64::consts::PI).ln() + correction - product.ln()
}

/// The incomplete gamma function's series, which converges quickly below a + 1.
fn series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum, mut next) = (1.0 / a, 1.0 / a, a);
    while term > sum * f64::EPSILON {
        next += 1.0;
        term *= x / next;
        sum += term;
    }
    sum
}

/// Its complement's continued fraction, by Lentz's method, which converges quickly above a + 1.
fn fraction(a: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const MAX_TERMS: usize = 10_000;
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
    let mut value = d;
    for index in 1..MAX_TERMS {
        let numerator = -(index as f64) * (index as f64 - a);
        b += 2.0;
        d = 1.0 / nonzero(numerator * d + b, TINY);
        c = nonzero(b + numerator / c, TINY);
        value *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    value
}

fn nonzero(value: f64, tiny: f64) -> f64 {
    if value.abs() < tiny { tiny } else { value }
}
