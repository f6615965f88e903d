//! How much an item counts for, per category.
//!
//! | type | quantity |
//! |---|---|
//! | `transaction` | 1, and a span for itself and each element of `spans` |
//! | `attachment` | bytes, and 1 |
//! | `sessions` | exited + errored + abnormal + crashed over all aggregates |
//! | `log` | logs, and per log the bytes of `body` and of the attributes' names and values |
//! | `trace_metric` | metrics, and per metric the bytes of `name`, 8 for the value, and the attributes likewise |
//! | other containers | `item_count` |
//! | everything else | 1 |
//!
//! An attribute value counts 8 bytes for a number, 1 for a boolean, its UTF-8 length for a string, and the sum of what
//! is inside for arrays and objects, names included (Relay's rule for the categories in bytes). Nothing counts less
//! than 1, so that no item can vanish from the books.
//!
//! [`ItemScan`] reads what must be read of a payload, in pieces and without keeping it; of the rest it follows only the
//! brackets. A payload that is seen to be no valid JSON counts as far as it could be read.

use super::header::{AttachmentForm, ItemHeader, ProfileSide, is_one_of};
use super::item_type::ItemType;
use crate::item::{Category, CategorySet, Count};
use crate::limits::MAX_PAYLOAD_JSON_DEPTH;
use crate::wire::json::{Scanner, Short, Token};

/// What one item counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quantities {
    /// The item's own category.
    pub count: Count,
    /// The second one that goes with it. Its quantity is 0 when only the server can work it out (the duration of a
    /// profile chunk): it limits the item all the same.
    pub also: Option<Count>,
}

impl Quantities {
    /// Both counts.
    pub fn iter(&self) -> impl Iterator<Item = Count> + use<> {
        [Some(self.count), self.also].into_iter().flatten()
    }

    /// Both categories.
    #[must_use]
    pub const fn categories(&self) -> CategorySet {
        let set = CategorySet::of(self.count.category);
        match self.also {
            Some(also) => set.with(also.category),
            None => set,
        }
    }
}

impl ItemHeader {
    /// The categories the item counts in: the type's, and what the platform makes of a profile.
    #[must_use]
    pub const fn counted_in(&self) -> (Category, Option<Category>) {
        match (self.item_type, self.profile_side) {
            (ItemType::Profile, Some(ProfileSide::Backend)) => {
                (Category::Profile, Some(Category::ProfileBackend))
            }
            (ItemType::Profile, Some(ProfileSide::Ui)) => (Category::Profile, Some(Category::ProfileUi)),
            (ItemType::ProfileChunk | ItemType::ProfileChunkUi, Some(ProfileSide::Backend)) => {
                ItemType::ProfileChunk.counted_in()
            }
            (ItemType::ProfileChunk | ItemType::ProfileChunkUi, Some(ProfileSide::Ui)) => {
                ItemType::ProfileChunkUi.counted_in()
            }
            (item_type, _) => item_type.counted_in(),
        }
    }

    /// The categories whose limits cover the item. Those it counts in; but a crash dump goes wherever errors go.
    #[must_use]
    pub const fn limited_by(&self) -> CategorySet {
        if self.is_crash() {
            return CategorySet::of(Category::Error);
        }
        let (first, second) = self.counted_in();
        let set = CategorySet::of(first);
        match second {
            Some(second) => set.with(second),
            None => set,
        }
    }
}

/// Counts one item while its payload goes by. About 150 bytes.
#[derive(Clone, Debug)]
pub struct ItemScan {
    header: ItemHeader,
    scanner: Scanner,
    reads: Reads,
    /// The payload is malformed from here on.
    failed: bool,
    /// A name near the top, being collected.
    name: Short<16>,
    /// Bytes of the string being read.
    text_bytes: u64,
    /// Elements, sessions or logs so far.
    elements: u64,
    /// Bytes in all of them, for categories in bytes.
    bytes: u64,
    record: Record,
}

/// What of the payload is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reads {
    Nothing,
    /// Number of elements of `spans`.
    Spans,
    /// The four counts of each element of `aggregates`.
    Aggregates,
    /// The bytes of each element of `items`, or of the payload itself when it is no container.
    Records,
}

/// The log or metric being read.
#[derive(Clone, Copy, Default, Debug)]
struct Record {
    /// Where its own members are: 3 in a container, 1 without one, 0 outside.
    depth: u8,
    /// The member being read.
    field: Field,
    /// Bytes of `body` or `name`.
    text: u64,
    /// Bytes of the attributes before the one being read.
    attributes: u64,
    /// Bytes of the value of the attribute being read.
    value: u64,
    /// The member of that attribute being read is `value`.
    in_value: bool,
}

impl Record {
    /// Inside the array of a container, outside its elements.
    const BETWEEN: Self = Self {
        depth: 0,
        field: Field::Elements,
        text: 0,
        attributes: 0,
        value: 0,
        in_value: false,
    };
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Field {
    #[default]
    Other,
    /// `spans`, `aggregates` or `items`.
    Elements,
    /// One of the four counts.
    Sessions,
    /// `body` of a log, `name` of a metric.
    Text,
    Attributes,
}

impl ItemScan {
    /// A scan of the payload that follows `header`.
    #[must_use]
    pub const fn new(header: &ItemHeader) -> Self {
        let reads = match header.item_type {
            ItemType::Transaction => Reads::Spans,
            ItemType::Sessions => Reads::Aggregates,
            ItemType::Log | ItemType::TraceMetric => Reads::Records,
            _ => Reads::Nothing,
        };
        Self {
            header: *header,
            scanner: Scanner::new(MAX_PAYLOAD_JSON_DEPTH),
            reads,
            failed: false,
            name: Short::new(),
            text_bytes: 0,
            elements: 0,
            bytes: 0,
            record: Record {
                field: Field::Other,
                ..Record::BETWEEN
            },
        }
    }

    /// True while further bytes can change the outcome.
    #[must_use]
    pub const fn wants_payload(&self) -> bool {
        !(matches!(self.reads, Reads::Nothing) || self.failed || self.scanner.is_done())
    }

    /// Reads the next piece of the payload: nothing of it for most types, each byte once for the others.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut input = piece;
        while self.wants_payload() {
            match self.scanner.next(&mut input) {
                Ok(Some(token)) => self.token(token),
                Ok(None) => break,
                Err(_) => self.failed = true,
            }
        }
    }

    /// What the item counts for, its payload being `payload_bytes` long.
    #[must_use]
    pub fn finish(&self, payload_bytes: u64) -> Quantities {
        let header = &self.header;
        let (category, second) = header.counted_in();
        let (first_quantity, second_quantity) = match header.item_type {
            ItemType::Transaction => (1, self.elements.saturating_add(1)),
            ItemType::Attachment => (
                match header.attachment {
                    AttachmentForm::Plain => payload_bytes,
                    AttachmentForm::Trace => payload_bytes.saturating_sub(u64::from(header.meta_length)),
                    AttachmentForm::Placeholder => header.attachment_length,
                },
                1,
            ),
            ItemType::Sessions => (self.elements, 1),
            ItemType::Log | ItemType::TraceMetric => {
                let read = self.with_open_record();
                (header.item_count.map_or(read.0, u64::from), read.1)
            }
            item_type if item_type.may_be_container() => (header.item_count.map_or(1, u64::from), 1),
            _ => (1, 1),
        };
        let only_a_limit = matches!(
            second,
            Some(Category::ProfileDuration | Category::ProfileDurationUi)
        );
        Quantities {
            count: Count {
                category,
                quantity: quantity(first_quantity),
            },
            also: second.map(|category| Count {
                category,
                quantity: match (only_a_limit, header.item_type) {
                    (true, _) => 0,
                    (false, ItemType::Profile) => quantity(first_quantity),
                    _ => quantity(second_quantity),
                },
            }),
        }
    }

    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Part(piece) => {
                self.text_bytes = self.text_bytes.saturating_add(piece.len() as u64);
                if self.scanner.is_in_name() {
                    self.name.push(piece);
                }
            }
            Token::Char(character) => {
                self.text_bytes = self.text_bytes.saturating_add(character.len_utf8() as u64);
                if self.scanner.is_in_name() {
                    self.name.push_char(character);
                }
            }
            _ => {
                match self.reads {
                    Reads::Nothing => {}
                    Reads::Spans => self.spans(token),
                    Reads::Aggregates => self.aggregates(token),
                    Reads::Records => self.records(token),
                }
                if matches!(token, Token::ObjectStart | Token::ArrayStart) && !self.looks_into() {
                    self.scanner.pass_over();
                }
                self.text_bytes = 0;
                self.name.clear();
            }
        }
    }

    /// True when something inside the bracket that was just opened can matter.
    fn looks_into(&self) -> bool {
        let depth = self.scanner.depth();
        let in_elements = self.record.field == Field::Elements;
        match self.reads {
            Reads::Nothing => false,
            Reads::Spans => depth == 1 || (depth == 2 && in_elements),
            Reads::Aggregates => depth == 1 || (depth <= 3 && self.record.field != Field::Other),
            Reads::Records => match self.record.depth {
                0 => depth == 1 || (depth <= 3 && in_elements),
                record => depth <= record || matches!(self.record.field, Field::Attributes | Field::Elements),
            },
        }
    }

    fn spans(&mut self, token: Token<'_>) {
        let depth = self.scanner.depth();
        if token == Token::Key && depth == 1 {
            self.enter_elements("spans");
        } else if token == Token::ObjectStart && depth == 2 {
            self.record.field = Field::Other;
        } else if self.record.field == Field::Elements && is_element_end(token, depth) {
            self.elements = self.elements.saturating_add(1);
        }
    }

    fn aggregates(&mut self, token: Token<'_>) {
        match (token, self.scanner.depth()) {
            (Token::Key, 1) => self.enter_elements("aggregates"),
            (Token::ObjectStart, 2) => self.record.field = Field::Other,
            (Token::Key, 3) if self.record.field != Field::Other => {
                let counted = is_one_of(self.name.get(), &["exited", "errored", "abnormal", "crashed"]);
                self.record.field = if counted { Field::Sessions } else { Field::Elements };
            }
            (Token::Number(Some(sessions)), 3) if self.record.field == Field::Sessions => {
                self.elements = self.elements.saturating_add(sessions);
            }
            _ => {}
        }
    }

    /// A member of the outermost object begins. Of two with the same name the last one counts.
    fn enter_elements(&mut self, name: &str) {
        self.record.field = Field::Other;
        if self.name.is(name) {
            self.record.field = Field::Elements;
            (self.elements, self.bytes) = (0, 0);
        }
    }

    fn records(&mut self, token: Token<'_>) {
        let depth = self.scanner.depth();
        let record = self.record.depth;
        match token {
            Token::ObjectStart if depth == 1 => {
                self.record = Record {
                    depth: 1,
                    ..Record::default()
                };
            }
            Token::ArrayStart if depth == 2 && self.record.field == Field::Elements => {
                // A container: its own members are no record.
                (self.elements, self.bytes) = (0, 0);
                self.record = Record::BETWEEN;
            }
            Token::Key if depth == 1 && record == 0 => {
                self.record.field = if self.name.is("items") {
                    Field::Elements
                } else {
                    Field::Other
                };
            }
            Token::ObjectStart if depth == 3 && record == 0 && self.record.field == Field::Elements => {
                self.record = Record {
                    depth: 3,
                    ..Record::default()
                };
            }
            Token::ObjectEnd if depth == 2 && record == 3 => {
                (self.elements, self.bytes) = self.with_open_record();
                self.record = Record::BETWEEN;
            }
            _ if record == 0 => {}
            _ if depth < record => {}
            Token::Key if depth == record => self.enter_member(),
            _ if depth == record && self.record.field == Field::Text => {
                self.record.text = if token == Token::Text { self.text_bytes } else { 0 };
            }
            _ if self.record.field == Field::Attributes => {
                self.attribute(token, depth.wrapping_sub(record));
            }
            _ => {}
        }
    }

    /// A member of the log or metric begins.
    fn enter_member(&mut self) {
        let text = if self.header.item_type == ItemType::Log {
            "body"
        } else {
            "name"
        };
        self.record.field = if self.name.is(text) {
            Field::Text
        } else if self.name.is("attributes") {
            (self.record.attributes, self.record.value) = (0, 0);
            self.record.in_value = false;
            Field::Attributes
        } else if self.record.depth == 1 && self.name.is("items") {
            Field::Elements
        } else {
            Field::Other
        };
    }

    /// Inside `attributes`, `depth` levels below the log: 1 among the attributes, 2 among the members of one.
    fn attribute(&mut self, token: Token<'_>, depth: u8) {
        let record = &mut self.record;
        match (token, depth) {
            (Token::Key, 1) => {
                let so_far = record.attributes.saturating_add(record.value);
                record.attributes = so_far.saturating_add(self.text_bytes);
                record.value = 0;
                record.in_value = false;
            }
            (Token::Key, 2) => {
                record.in_value = self.name.is("value");
                if record.in_value {
                    record.value = 0;
                }
            }
            (_, 2..) if record.in_value => {
                let bytes = match token {
                    Token::Key | Token::Text => self.text_bytes,
                    Token::Number(_) => 8,
                    Token::Bool(_) => 1,
                    _ => 0,
                };
                record.value = record.value.saturating_add(bytes);
            }
            _ => {}
        }
    }

    /// Records and bytes, the one being read included.
    fn with_open_record(&self) -> (u64, u64) {
        let record = &self.record;
        if record.depth == 0 {
            return (self.elements, self.bytes);
        }
        let value = if self.header.item_type == ItemType::Log {
            0
        } else {
            8
        };
        let bytes = record
            .text
            .saturating_add(value)
            .saturating_add(record.attributes)
            .saturating_add(record.value);
        (
            self.elements.saturating_add(1),
            self.bytes.saturating_add(bytes.max(1)),
        )
    }
}

/// True when `token` completes an element of an array whose elements are at `depth` 2.
const fn is_element_end(token: Token<'_>, depth: u8) -> bool {
    depth == 2
        && matches!(
            token,
            Token::ObjectEnd
                | Token::ArrayEnd
                | Token::Text
                | Token::Number(_)
                | Token::Bool(_)
                | Token::Null
        )
}

/// At least 1, at most what a count holds.
fn quantity(value: u64) -> u32 {
    u32::try_from(value.max(1)).unwrap_or(u32::MAX)
}
