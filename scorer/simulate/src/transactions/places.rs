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
    city(0,  4_041_680,    -370_380,   60, 0.08), // Madrid
    city(0,  4_138_740,     216_860,   60, 0.06), // Barcelona
    city(0,  3_738_910,    -598_450,   60, 0.03), // Sevilla
    city(1,  5_252_000,   1_340_500,   60, 0.06), // Berlin
    city(1,  5_355_110,     999_370,   60, 0.04), // Hamburg
    city(1,  4_813_510,   1_158_200,   60, 0.04), // München
    city(2,  5_150_740,     -12_780,    0, 0.07), // London
    city(2,  5_348_080,    -224_260,    0, 0.03), // Manchester
    city(2,  5_595_330,    -318_830,    0, 0.02), // Edinburgh
    city(3,  4_071_280,  -7_400_600, -300, 0.09), // New York
    city(3,  4_187_810,  -8_762_980, -360, 0.05), // Chicago
    city(3,  3_405_220, -11_824_370, -480, 0.08), // Los Angeles
    city(4,  1_943_260,  -9_913_320, -360, 0.05), // Ciudad de México
    city(4,  2_065_970, -10_334_960, -360, 0.02), // Guadalajara
    city(4,  2_568_660, -10_031_610, -360, 0.02), // Monterrey
    city(5, -2_355_050,  -4_663_330, -180, 0.05), // São Paulo
    city(5, -2_290_680,  -4_317_290, -180, 0.03), // Rio de Janeiro
    city(5,   -804_760,  -3_487_700, -180, 0.01), // Recife
    city(6,  1_907_600,   7_287_770,  330, 0.04), // Mumbai
    city(6,  2_861_390,   7_720_900,  330, 0.04), // Delhi
    city(6,  1_297_160,   7_759_460,  330, 0.02), // Bengaluru
    city(7,  3_567_620,  13_965_030,  540, 0.05), // Tokyo
    city(7,  3_469_370,  13_550_230,  540, 0.02), // Osaka
    city(7,  4_306_180,  14_135_450,  540, 0.01), // Sapporo
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
