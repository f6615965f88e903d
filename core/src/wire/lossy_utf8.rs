//! UTF-8 out of octets that are decoded on the way: percent-encoding, JSON escapes, plain bytes.
//!
//! Never fails: what is no character becomes U+FFFD, one for each maximal subpart, as the Unicode standard recommends
//! (section 3.9) and as the standard library does for text that lies in memory.

/// Characters of `octets` that should be UTF-8. Cost: each octet once, and up to three again where they are wrong.
#[derive(Clone)]
pub(crate) struct Chars<I>(pub(crate) I);

impl<I: Iterator<Item = u8> + Clone> Chars<I> {
    /// Takes the next octet when it is in `range`, and adds its six bits to `code`.
    fn continuation(&mut self, code: u32, range: (u8, u8)) -> Option<u32> {
        let mut ahead = self.0.clone();
        let octet = ahead.next()?;
        if octet < range.0 || octet > range.1 {
            return None;
        }
        self.0 = ahead;
        Some((code << 6) | u32::from(octet & 0x3F))
    }

    /// The rest of a character whose first octet has been read (Unicode standard, table 3-7).
    fn rest_of(&mut self, first: u8) -> Option<char> {
        const ANY: (u8, u8) = (0x80, 0xBF);
        let code = u32::from(first);
        let code = match first {
            0xC2..=0xDF => self.continuation(code & 0x1F, ANY)?,
            0xE0..=0xEF => {
                let range = match first {
                    0xE0 => (0xA0, 0xBF),
                    0xED => (0x80, 0x9F),
                    _ => ANY,
                };
                let code = self.continuation(code & 0x0F, range)?;
                self.continuation(code, ANY)?
            }
            0xF0..=0xF4 => {
                let range = match first {
                    0xF0 => (0x90, 0xBF),
                    0xF4 => (0x80, 0x8F),
                    _ => ANY,
                };
                let code = self.continuation(code & 0x07, range)?;
                let code = self.continuation(code, ANY)?;
                self.continuation(code, ANY)?
            }
            _ => return None,
        };
        char::from_u32(code)
    }
}

impl<I: Iterator<Item = u8> + Clone> Iterator for Chars<I> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let first = self.0.next()?;
        if first.is_ascii() {
            return Some(char::from(first));
        }
        Some(self.rest_of(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[test]
    fn octets_become_what_the_standard_library_makes_of_them() {
        for bytes in [
            &b"plain"[..],
            "\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            b"\xc0\x80 \xc1\xbf \xe0\x9f\xbf \xf0\x8f\xbf\xbf",
            b"\xed\xa0\x80 \xf4\x90\x80\x80 \xf5\x80\x80\x80 \xff",
            b"\xe2\x82 \xe2\x82\xe2\x82\xac \xf0\x9f\x98a\xc3",
            b"\x80\xbf\xc3",
        ] {
            let chars = Chars(bytes.iter().copied());
            assert_eq!(chars.collect::<String>(), String::from_utf8_lossy(bytes));
        }
    }
}
