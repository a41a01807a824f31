//! The text of single R values in JSON: pure functions on numbers and bytes.

use std::io::Write as _;

use super::plan::NA_INT;

/// `TRUE`, `FALSE` or `NA`.
pub(crate) fn logical(value: i32, out: &mut Vec<u8>) {
    let text: &[u8] = match value {
        NA_INT => b"null",
        0 => b"false",
        _ => b"true",
    };
    out.extend_from_slice(text);
}

/// An integer or `NA`.
pub(crate) fn integer(value: i32, out: &mut Vec<u8>) {
    if value == NA_INT {
        null(out);
    } else {
        json(&value, out);
    }
}

/// An integer as a double, `NA` as NaN: for classes that R stores either way.
pub(crate) fn widen(value: i32) -> f64 {
    if value == NA_INT {
        f64::NAN
    } else {
        f64::from(value)
    }
}

/// A double in the shortest text that reads back the same.
pub(crate) fn double(value: f64, out: &mut Vec<u8>) {
    /// Below this whole numbers fit 64 bits and are written without point or exponent.
    const WHOLE: f64 = 9e18;

    if value.is_nan() {
        if is_na(value) {
            null(out);
        } else {
            out.extend_from_slice(b"\"NaN\"");
        }
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        });
    } else if value.fract() == 0.0
        && value.abs() < WHOLE
        && !(value == 0.0 && value.is_sign_negative())
    {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 9e18")]
        json(&(value as i64), out);
    } else {
        json(&value, out);
    }
}

/// The low word tells R's NA from other NaNs.
fn is_na(value: f64) -> bool {
    value.is_nan() && value.to_bits() & 0xFFFF_FFFF == 1954
}

/// bit64's 64-bit integer, which lives in the bits of a double.
pub(crate) fn integer64(value: f64, out: &mut Vec<u8>) {
    let value = value.to_bits().cast_signed();
    if value == i64::MIN {
        null(out);
    } else {
        json(&value, out);
    }
}

/// A complex number as R writes it: `1+2i`.
pub(crate) fn complex(re: f64, im: f64, out: &mut Vec<u8>) {
    if is_na(re) || is_na(im) {
        null(out);
        return;
    }
    put(
        out,
        format_args!(
            "\"{}{}{}i\"",
            number(re),
            if im < 0.0 { "" } else { "+" },
            number(im)
        ),
    );
}

fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Inf" } else { "-Inf" }.to_owned();
    }
    let plain = value.to_string();
    if plain.len() <= 20 {
        plain
    } else {
        format!("{value:e}")
    }
}

/// Days since 1970 as `2017-01-31`.
pub(crate) fn date(days: f64, out: &mut Vec<u8>) {
    match whole(days.floor()) {
        Some(days) => {
            let (year, month, day) = civil(days);
            put(out, format_args!("\"{year:04}-{month:02}-{day:02}\""));
        }
        None => null(out),
    }
}

/// Seconds since 1970 as `2017-01-31T12:00:00.000Z`.
pub(crate) fn time(seconds: f64, out: &mut Vec<u8>) {
    let Some(millis) = whole((seconds * 1e3).round()) else {
        null(out);
        return;
    };
    let (year, month, day) = civil(millis.div_euclid(86_400_000));
    let rest = millis.rem_euclid(86_400_000);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1_000 % 60, rest % 1_000);
    put(
        out,
        format_args!(
            "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\""
        ),
    );
}

/// None for what is not a number or so large that no calendar holds it.
fn whole(value: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked first"
    )]
    (value.abs() < 1e17).then_some(value as i64)
}

/// Year, month and day of a day number, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Counted in eras of 400 years that begin on 1 March, so that the leap day is an era's last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A JSON string.
pub(crate) fn string(value: &str, out: &mut Vec<u8>) {
    json(value, out);
}

/// A JSON string of bytes that may not be UTF-8.
pub(crate) fn lossy(bytes: &[u8], out: &mut Vec<u8>) {
    string(&String::from_utf8_lossy(bytes), out);
}

/// A number as a member's name.
pub(crate) fn quoted_number(value: usize, out: &mut Vec<u8>) {
    put(out, format_args!("\"{value}\""));
}

/// Tells a repeated name from the earlier ones: `"x"` becomes `"x.1"`.
pub(crate) fn add_suffix(earlier: usize, out: &mut Vec<u8>) {
    out.pop();
    put(out, format_args!(".{earlier}\""));
}

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let mut group = [0_u8; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() {
                DIGITS[digit as usize]
            } else {
                b'='
            });
        }
    }
}

fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}

fn json(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    // Writing a number or a string to memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Nor can this.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::plan::NA_REAL;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn doubles_keep_every_digit_and_whole_numbers_lose_the_point() {
        let cases = [
            (5.0, "5"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.3333333333333333"),
            (0.533_266_855_997_037, "0.533266855997037"),
            (1e300, "1e+300"),
            (NA_REAL, "null"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ];
        for (value, expected) in cases {
            assert_eq!(written(|out| double(value, out)), expected);
        }
    }

    #[test]
    fn dates_and_times_are_iso() {
        assert_eq!(written(|out| date(17_197.0, out)), "\"2017-01-31\"");
        assert_eq!(written(|out| date(-1.0, out)), "\"1969-12-31\"");
        assert_eq!(written(|out| date(11_016.0, out)), "\"2000-02-29\"");
        assert_eq!(written(|out| date(f64::NAN, out)), "null");
        assert_eq!(
            written(|out| time(1_485_864_000.5, out)),
            "\"2017-01-31T12:00:00.500Z\""
        );
    }

    #[test]
    fn bytes_are_base64() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(written(|out| base64(bytes.as_bytes(), out)), expected);
        }
    }

    #[test]
    fn complex_numbers_are_text() {
        assert_eq!(written(|out| complex(1.0, -2.5, out)), "\"1-2.5i\"");
        assert_eq!(written(|out| complex(NA_REAL, 0.0, out)), "null");
        assert_eq!(
            written(|out| complex(f64::NAN, f64::INFINITY, out)),
            "\"NaN+Infi\""
        );
    }
}
