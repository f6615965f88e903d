//! Base64 (RFC 4648, section 4), decoded as it is read.

/// Iterator over the octets of a base64 text; cannot fail, as [`octets`] has checked the text.
#[derive(Clone)]
pub(crate) struct Octets<'a> {
    digits: core::slice::Iter<'a, u8>,
    bits: u32,
    bit_count: u32,
}

/// The octets that `text` encodes; `None` when it is no base64 with its padding. Cost: one pass.
pub(crate) fn octets(text: &[u8]) -> Option<Octets<'_>> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len().checked_sub(padding)?)?;
    let valid =
        text.len().is_multiple_of(4) && padding <= 2 && digits.iter().all(|byte| value(*byte).is_some());
    valid.then(|| Octets {
        digits: digits.iter(),
        bits: 0,
        bit_count: 0,
    })
}

/// The octets that `text` encodes, with or without padding, and how many they are. Cost: one pass.
#[cfg(any(feature = "grpc", test))]
pub(crate) fn octets_of_any_padding(text: &[u8]) -> Option<(Octets<'_>, usize)> {
    let padded = text.last() == Some(&b'=');
    let unpadded = text
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last.saturating_add(1));
    let digits = text.get(..unpadded)?;
    let complete = if padded {
        text.len().is_multiple_of(4) && text.len().saturating_sub(unpadded) <= 2
    } else {
        digits.len() % 4 != 1
    };
    let valid = complete && digits.iter().all(|byte| value(*byte).is_some());
    let octets = Octets {
        digits: digits.iter(),
        bits: 0,
        bit_count: 0,
    };
    valid.then(|| (octets, digits.len() / 4 * 3 + digits.len() % 4 * 3 / 4))
}

impl Iterator for Octets<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.bit_count < 8 {
            let digit = value(*self.digits.next()?)?;
            self.bits = (self.bits << 6) | u32::from(digit);
            self.bit_count = self.bit_count.wrapping_add(6);
        }
        self.bit_count = self.bit_count.wrapping_sub(8);
        let [.., octet] = self.bits.wrapping_shr(self.bit_count).to_be_bytes();
        Some(octet)
    }
}

const fn value(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit.wrapping_sub(b'A'),
        b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn decoded(text: &str) -> Option<Vec<u8>> {
        octets(text.as_bytes()).map(Iterator::collect)
    }

    #[test]
    fn the_vectors_of_the_rfc_are_read() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decoded(text).as_deref(), Some(expected.as_bytes()), "{text}");
        }
        assert_eq!(decoded("+/+/"), Some([0xFB, 0xFF, 0xBF].to_vec()));
    }

    #[test]
    fn padding_may_be_left_out_where_that_is_allowed() {
        for (text, expected) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zg", "f"),
            ("Zm8=", "fo"),
            ("Zm8", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg", "foob"),
        ] {
            let (octets, len) = octets_of_any_padding(text.as_bytes()).unwrap();
            assert_eq!(octets.collect::<Vec<u8>>(), expected.as_bytes(), "{text}");
            assert_eq!(len, expected.len(), "{text}");
        }
        for text in ["Z", "Zg=", "Zm9v=", "====", "Z===", "Zg==Zg==", "Zm9vZ", "Zm-v"] {
            assert!(octets_of_any_padding(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "Z", "Zg", "Zg=", "Zm9v=", "====", "Z===", "Zg==Zg==", "Zm-v", "Zm9 v", "Zm9\n",
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
    }
}
