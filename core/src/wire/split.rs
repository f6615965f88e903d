//! Splitting text at ASCII bytes.
//!
//! The standard library's searches in `str` keep a path to a panic that the compiler cannot rule out; a walk over the
//! bytes has none. An ASCII byte is never a part of another character, so every split is between characters.

/// `text` without white space around it. One copy, where the standard library's is one for each use.
#[inline(never)]
pub(super) fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// What stands before and after the first `byte`, which is ASCII; `None` when it does not occur.
pub(super) fn at_first(text: &str, byte: u8) -> Option<(&str, &str)> {
    around(text, text.bytes().position(|one| one == byte)?)
}

/// What stands before and after the last `byte`, which is ASCII; `None` when it does not occur.
pub(super) fn at_last(text: &str, byte: u8) -> Option<(&str, &str)> {
    around(text, text.bytes().rposition(|one| one == byte)?)
}

/// Splits before the first byte that `stops`, which is ASCII; all is before when none does.
pub(super) fn before(text: &str, stops: impl Fn(u8) -> bool) -> (&str, &str) {
    let at = text.bytes().position(stops).unwrap_or(text.len());
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn around(text: &str, at: usize) -> Option<(&str, &str)> {
    let (head, rest) = text.split_at_checked(at)?;
    let (_, tail) = rest.split_at_checked(1)?;
    Some((head, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_itself_is_in_neither_part() {
        assert_eq!(at_first("é=b=c", b'='), Some(("é", "b=c")));
        assert_eq!(at_last("a=b=é", b'='), Some(("a=b", "é")));
        assert_eq!(at_first("=", b'='), Some(("", "")));
        assert_eq!(at_first("é", b'='), None);
        assert_eq!(at_last("", b'='), None);
    }

    #[test]
    fn what_stops_is_in_the_rest() {
        assert_eq!(before("é/b", |byte| byte == b'/'), ("é", "/b"));
        assert_eq!(before("é", |byte| byte == b'/'), ("é", ""));
    }
}
