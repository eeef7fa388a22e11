//! Distances on the globe.

/// The Earth's mean radius, in kilometres (IUGG).
const RADIUS_KM: f64 = 6371.0088;

/// A point on the globe: latitude and longitude in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeoPoint {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

/// The length of the great circle between two places, in kilometres, by the haversine formula (Sinnott, "Virtues of the
/// haversine", Sky and Telescope 1984), which is exact for places close together as well.
pub fn distance_km(a: GeoPoint, b: GeoPoint) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let around = a.latitude.to_radians().cos() * b.latitude.to_radians().cos();
    let haversine = half(a.latitude, b.latitude) + around * half(a.longitude, b.longitude);
    // Rounding may leave the domain of the inverse sine.
    2.0 * RADIUS_KM * haversine.clamp(0.0, 1.0).sqrt().asin()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = GeoPoint> {
        (-90.0f64..=90.0, -180.0f64..=180.0).prop_map(|(latitude, longitude)| GeoPoint { latitude, longitude })
    }

    #[test]
    fn known_distances() {
        let (madrid, paris) =
            (GeoPoint { latitude: 40.4168, longitude: -3.7038 }, GeoPoint { latitude: 48.8566, longitude: 2.3522 });
        assert!((distance_km(madrid, paris) - 1053.0).abs() < 2.0, "{}", distance_km(madrid, paris));
        let (pole, equator) =
            (GeoPoint { latitude: 90.0, longitude: 77.0 }, GeoPoint { latitude: 0.0, longitude: -12.0 });
        assert!((distance_km(pole, equator) - 10_007.557).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn distances_are_a_metric(a in point(), b in point(), c in point()) {
            let (ab, ba) = (distance_km(a, b), distance_km(b, a));
            prop_assert!((0.0..=20_016.0).contains(&ab) && (ab - ba).abs() < 1e-6);
            prop_assert_eq!(distance_km(a, a), 0.0);
            prop_assert!(distance_km(a, c) <= ab + distance_km(b, c) + 1e-6);
        }
    }
}
