//! Header lists as the host hands them over and takes them.
//!
//! ```text
//! count: u32, (length of name: u32, length of value: u32) * count, (name, 0, value, 0) * count      little-endian
//! ```

/// A serialised list, as the host gives it. What is not whole in it is left out.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    lengths: &'a [[u8; 8]],
    texts: &'a [u8],
}

impl<'a> Pairs<'a> {
    /// The list in `bytes`; an empty one when they hold none.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let whole = || {
            let (count, rest) = bytes.split_first_chunk::<4>()?;
            let count = u32::from_le_bytes(*count) as usize;
            let (lengths, texts) = rest.split_at_checked(count.checked_mul(8)?)?;
            let (lengths, _) = lengths.as_chunks();
            Some(Self { lengths, texts })
        };
        whole().unwrap_or(Self {
            lengths: &[],
            texts: &[],
        })
    }

    /// Names and values in order. Names of a proxy are in lower case.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut texts = self.texts;
        self.lengths.iter().map_while(move |lengths| {
            let [a, b, c, d, e, f, g, h] = *lengths;
            let name = take(&mut texts, u32::from_le_bytes([a, b, c, d]))?;
            let value = take(&mut texts, u32::from_le_bytes([e, f, g, h]))?;
            Some((name, value))
        })
    }

    /// The value of the first header of that name.
    #[must_use]
    pub fn get(self, wanted: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(name, _)| *name == wanted.as_bytes())
            .map(|(_, value)| value)
    }
}

/// The next text of that length, and the zero behind it.
fn take<'a>(texts: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (text, rest) = texts.split_at_checked(length as usize)?;
    *texts = rest.get(1..)?;
    Some(text)
}

/// Writes a list into `out`; `None` when it does not fit.
#[must_use]
pub fn write<'o, 'p>(
    out: &'o mut [u8],
    pairs: impl Iterator<Item = (&'p [u8], &'p [u8])> + Clone,
) -> Option<&'o [u8]> {
    let mut writer = Bytes { out, used: 0 };
    writer.number(pairs.clone().count())?;
    for (name, value) in pairs.clone() {
        writer.number(name.len())?;
        writer.number(value.len())?;
    }
    for (name, value) in pairs {
        for text in [name, value] {
            writer.put(text)?;
            writer.put(&[0])?;
        }
    }
    let used = writer.used;
    out.get(..used)
}

struct Bytes<'o> {
    out: &'o mut [u8],
    used: usize,
}

impl Bytes<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let room = self.out.get_mut(self.used..)?.get_mut(..bytes.len())?;
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.used = self.used.checked_add(bytes.len())?;
        Some(())
    }

    fn number(&mut self, number: usize) -> Option<()> {
        self.put(&u32::try_from(number).ok()?.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const LIST: [(&[u8], &[u8]); 3] = [(b":status", b"200"), (b"a", b""), (b"a", b"second")];

    #[test]
    fn what_is_written_is_read() {
        let mut memory = [0; 128];
        let bytes = write(&mut memory, LIST.into_iter()).unwrap();
        assert_eq!(
            bytes.len(),
            4 + 3 * 8 + (7 + 1 + 3 + 1) + (1 + 1 + 1) + (1 + 1 + 6 + 1)
        );
        let pairs = Pairs::new(bytes);
        assert_eq!(pairs.iter().collect::<Vec<_>>(), LIST);
        assert_eq!(pairs.get("a"), Some(&b""[..]));
        assert_eq!(pairs.get("b"), None);
    }

    #[test]
    fn a_list_that_was_cut_gives_what_is_whole() {
        let mut memory = [0; 128];
        let bytes = write(&mut memory, LIST.into_iter()).unwrap();
        for end in 0..bytes.len() {
            let found = Pairs::new(&bytes[..end]).iter().count();
            assert!(found < LIST.len(), "{found} of {end} bytes");
        }
        assert_eq!(Pairs::new(&bytes[..bytes.len() - 2]).iter().count(), 2);
    }

    #[test]
    fn lengths_beyond_the_end_are_not_believed() {
        for count in [1_u32, 2, u32::MAX] {
            let mut bytes = count.to_le_bytes().to_vec();
            bytes.extend([0xFF; 12]);
            assert_eq!(Pairs::new(&bytes).iter().count(), 0);
        }
    }

    #[test]
    fn a_list_that_does_not_fit_is_not_written() {
        assert_eq!(write(&mut [0; 16], LIST.into_iter()), None);
    }
}
