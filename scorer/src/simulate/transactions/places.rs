//! Where things are: countries, cities, currencies, distances.

use super::random::Random;

/// What is paid with. Rates are round figures near those of 2024; what matters is that they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Currency {
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// US dollar.
    Usd,
    /// Mexican peso.
    Mxn,
    /// Brazilian real.
    Brl,
    /// Indian rupee.
    Inr,
    /// Japanese yen, which has no cents.
    Jpy,
}

impl Currency {
    /// The code of ISO 4217.
    pub fn code(self) -> &'static str {
        match self {
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Usd => "USD",
            Self::Mxn => "MXN",
            Self::Brl => "BRL",
            Self::Inr => "INR",
            Self::Jpy => "JPY",
        }
    }

    /// How much of it one euro is.
    pub fn per_euro(self) -> f64 {
        match self {
            Self::Eur => 1.0,
            Self::Gbp => 0.86,
            Self::Usd => 1.08,
            Self::Mxn => 18.5,
            Self::Brl => 5.4,
            Self::Inr => 90.0,
            Self::Jpy => 160.0,
        }
    }

    /// How many of the smallest coin make one: 100, or 1 where there is nothing smaller.
    pub fn coins(self) -> u32 {
        if self == Self::Jpy { 1 } else { 100 }
    }
}

/// A country: its currency, and its prices beside those of the euro area's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Country {
    pub(super) currency: Currency,
    pub(super) price_level: f64,
}

const fn country(currency: Currency, price_level: f64) -> Country {
    Country { currency, price_level }
}

/// Spain, Germany, the United Kingdom, the United States, Mexico, Brazil, India, Japan.
pub(super) const COUNTRIES: [Country; 8] = [
    country(Currency::Eur, 1.0),
    country(Currency::Eur, 1.1),
    country(Currency::Gbp, 1.15),
    country(Currency::Usd, 1.2),
    country(Currency::Mxn, 0.55),
    country(Currency::Brl, 0.5),
    country(Currency::Inr, 0.3),
    country(Currency::Jpy, 0.9),
];

/// A city: whose it is, where, its standard time in minutes ahead of UTC, and its share of the people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct City {
    pub(super) country: usize,
    pub(super) centre: Position,
    pub(super) utc_offset: i64,
    pub(super) share: f64,
}

const fn city(country: usize, latitude: i32, longitude: i32, utc_offset: i64, share: f64) -> City {
    City { country, centre: Position { latitude, longitude }, utc_offset, share }
}

/// All over the world, so that a stream that is as busy at every hour is made of people who sleep at night.
#[rustfmt::skip]
pub(super) const CITIES: [City; 24] = [
    city(0,  40_41_680,   -3_70_380,   60, 0.08), // Madrid
    city(0,  41_38_740,    2_16_860,   60, 0.06), // Barcelona
    city(0,  37_38_910,   -5_98_450,   60, 0.03), // Sevilla
    city(1,  52_52_000,   13_40_500,   60, 0.06), // Berlin
    city(1,  53_55_110,    9_99_370,   60, 0.04), // Hamburg
    city(1,  48_13_510,   11_58_200,   60, 0.04), // München
    city(2,  51_50_740,   -0_12_780,    0, 0.07), // London
    city(2,  53_48_080,   -2_24_260,    0, 0.03), // Manchester
    city(2,  55_95_330,   -3_18_830,    0, 0.02), // Edinburgh
    city(3,  40_71_280,  -74_00_600, -300, 0.09), // New York
    city(3,  41_87_810,  -87_62_980, -360, 0.05), // Chicago
    city(3,  34_05_220, -118_24_370, -480, 0.08), // Los Angeles
    city(4,  19_43_260,  -99_13_320, -360, 0.05), // Ciudad de México
    city(4,  20_65_970, -103_34_960, -360, 0.02), // Guadalajara
    city(4,  25_68_660, -100_31_610, -360, 0.02), // Monterrey
    city(5, -23_55_050,  -46_63_330, -180, 0.05), // São Paulo
    city(5, -22_90_680,  -43_17_290, -180, 0.03), // Rio de Janeiro
    city(5,  -8_04_760,  -34_87_700, -180, 0.01), // Recife
    city(6,  19_07_600,   72_87_770,  330, 0.04), // Mumbai
    city(6,  28_61_390,   77_20_900,  330, 0.04), // Delhi
    city(6,  12_97_160,   77_59_460,  330, 0.02), // Bengaluru
    city(7,  35_67_620,  139_65_030,  540, 0.05), // Tokyo
    city(7,  34_69_370,  135_50_230,  540, 0.02), // Osaka
    city(7,  43_06_180,  141_35_450,  540, 0.01), // Sapporo
];

/// A place on earth, in hundred-thousandths of a degree: about a metre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// North of the equator.
    pub latitude: i32,
    /// East of Greenwich.
    pub longitude: i32,
}

const DEGREE: f64 = 100_000.0;
const EARTH_RADIUS_KM: f64 = 6371.0;

impl Position {
    /// Degrees north.
    pub fn latitude_degrees(self) -> f64 {
        f64::from(self.latitude) / DEGREE
    }

    /// Degrees east.
    pub fn longitude_degrees(self) -> f64 {
        f64::from(self.longitude) / DEGREE
    }

    /// The great-circle distance in kilometres, by the haversine formula.
    pub fn distance_km(self, other: Self) -> f64 {
        let (here, there) = (self.latitude_degrees().to_radians(), other.latitude_degrees().to_radians());
        let east = (other.longitude_degrees() - self.longitude_degrees()).to_radians();
        let (north, east) = (libm::sin((there - here) / 2.0), libm::sin(east / 2.0));
        let haversine = north * north + libm::cos(here) * libm::cos(there) * east * east;
        2.0 * EARTH_RADIUS_KM * libm::asin(haversine.sqrt().min(1.0))
    }

    /// How far north or south the other is, in kilometres: never more than the distance.
    pub(super) fn north_km(self, other: Self) -> f64 {
        (f64::from(self.latitude) - f64::from(other.latitude)).abs() / DEGREE * EARTH_RADIUS_KM.to_radians()
    }

    /// Somewhere around here, `spread_km` away in each direction on the average.
    pub(super) fn around(self, spread_km: f64, random: &mut Random) -> Self {
        let north = random.normal() * spread_km / EARTH_RADIUS_KM.to_radians();
        let shrink = libm::cos(self.latitude_degrees().to_radians());
        let east = random.normal() * spread_km / EARTH_RADIUS_KM.to_radians() / shrink;
        Self { latitude: self.latitude + (north * DEGREE) as i32, longitude: self.longitude + (east * DEGREE) as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_the_map() {
        let km = |from: usize, to: usize| CITIES[from].centre.distance_km(CITIES[to].centre);
        assert!((km(0, 1) - 505.0).abs() < 5.0, "Madrid to Barcelona: {}", km(0, 1));
        assert!((km(6, 9) - 5570.0).abs() < 20.0, "London to New York: {}", km(6, 9));
        assert!((km(11, 21) - 8815.0).abs() < 30.0, "Los Angeles to Tokyo, across the date line: {}", km(11, 21));
        assert!(km(3, 3).abs() < 1e-9);
    }

    #[test]
    fn shares_of_the_cities_add_up() {
        let sum: f64 = CITIES.iter().map(|city| city.share).sum();
        assert!((sum - 1.01).abs() < 0.02, "{sum}");
        assert!(CITIES.iter().all(|city| city.country < COUNTRIES.len()));
    }
}
