//! One line of a script, word by word, with errors that say what would be right.

use core::ops::RangeInclusive;

use surgetank_core::time::Duration;

use crate::Fault;

/// Units of time, with their microseconds.
const UNITS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// The words of a line that are still to be read.
pub(super) struct Words {
    line: usize,
    text: String,
    words: std::vec::IntoIter<String>,
}

impl Words {
    /// The words of `text` up to a comment; a word in double quotes may hold spaces and, as `\n`, line feeds.
    pub(super) fn of(line: usize, text: &str) -> Result<Self, Fault> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() && !rest.starts_with('#') {
            let word;
            (word, rest) = if let Some(quoted) = rest.strip_prefix('"') {
                unquote(line, quoted)?
            } else {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            };
            words.push(word);
            rest = rest.trim_start();
        }
        Ok(Self {
            line,
            text: text[..text.len() - rest.len()].trim().to_owned(),
            words: words.into_iter(),
        })
    }

    /// The line without its comment.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The next word, if there is one.
    pub(super) fn optional(&mut self) -> Option<String> {
        self.words.next()
    }

    /// The next word, which must be there. `right` says what it is, as in "write a duration".
    pub(super) fn word(&mut self, right: &str) -> Result<String, Fault> {
        self.optional()
            .ok_or_else(|| Fault::new(self.line, "the line ends too early", format!("write {right}")))
    }

    /// A complaint about this line.
    pub(super) fn fault<T>(&self, wrong: impl Into<String>, right: impl Into<String>) -> Result<T, Fault> {
        Err(Fault::new(self.line, wrong, right))
    }

    /// Nothing may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.optional() {
            None => Ok(()),
            Some(word) => self.fault(format!("`{word}` is too much"), "end the line before it"),
        }
    }

    /// A whole number in `range`.
    pub(super) fn number(&mut self, range: RangeInclusive<u64>) -> Result<u64, Fault> {
        let right = format!("a whole number from {} to {}", range.start(), range.end());
        let word = self.word(&right)?;
        match word.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => self.fault(format!("`{word}` does not fit"), format!("write {right}")),
        }
    }

    /// A whole number in `range`, which a type of at least 32 bits holds.
    pub(super) fn count(&mut self, range: RangeInclusive<u32>) -> Result<u32, Fault> {
        let number = self.number(u64::from(*range.start())..=u64::from(*range.end()))?;
        Ok(u32::try_from(number).unwrap_or(*range.end()))
    }

    /// `250ms` and the like.
    pub(super) fn duration(&mut self) -> Result<Duration, Fault> {
        let word = self.word("a duration, like 250ms")?;
        match duration_of(&word) {
            Some(duration) => Ok(duration),
            None => self.fault(
                format!("`{word}` is no duration"),
                "write a whole number and a unit, like 250ms; units are us, ms, s, m, h",
            ),
        }
    }

    /// A duration with a sign, in microseconds.
    pub(super) fn jump(&mut self) -> Result<i64, Fault> {
        let right = "write a sign and a duration, like -30s";
        let word = self.word("a sign and a duration, like -30s")?;
        let span = word.get(1..).and_then(duration_of);
        let micros = span.and_then(|span| i64::try_from(span.as_micros()).ok());
        match (word.as_bytes().first(), micros) {
            (Some(b'+'), Some(micros)) => Ok(micros),
            (Some(b'-'), Some(micros)) => Ok(-micros),
            _ => self.fault(format!("`{word}` is no jump"), right),
        }
    }

    /// One of these names.
    pub(super) fn choice<T: Clone>(&mut self, choices: &[(&str, T)]) -> Result<T, Fault> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let right = format!("one of {}", names.join(", "));
        let word = self.word(&right)?;
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fault(format!("`{word}` is not known here"), format!("write {right}")),
        }
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(line: usize, quoted: &str) -> Result<(String, &str), Fault> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((text, &quoted[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                _ => {
                    return Err(Fault::new(
                        line,
                        "an unknown escape",
                        "only \\n, \\\" and \\\\ are known between quotes",
                    ));
                }
            },
            other => text.push(other),
        }
    }
    Err(Fault::new(
        line,
        "a quote is not closed",
        "put a `\"` at the end of the text",
    ))
}

fn duration_of(word: &str) -> Option<Duration> {
    let digits = word.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = word.split_at(digits);
    let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(*micros).map(Duration::from_micros)
}
