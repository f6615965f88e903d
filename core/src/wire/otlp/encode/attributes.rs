//! Attribute values and the lists they stand in (`opentelemetry/proto/common/v1/common.proto`).
//!
//! ```text
//! KeyValue { 1: key, 2: AnyValue }
//! AnyValue { 1: string | 2: bool | 3: int64 | 4: double | 5: ArrayValue | 6: KeyValueList | 7: bytes }
//! ArrayValue { 1: AnyValue* }    KeyValueList { 1: KeyValue* }
//! ```
//!
//! A plain value's length is known, so its three prefixes are exact and, for short ones, two stores. An array or map
//! gets patched prefixes, and is walked once.

use crate::limits::MAX_VALUE_DEPTH;
use crate::wire::otlp::protobuf::{Open, Out, WireType, delimited_len, tag, varint_len};

/// An attribute's value or a log's body. Exhaustive.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub enum AnyValue<'a> {
    /// No value.
    #[default]
    Empty,
    /// Text.
    String(&'a str),
    /// Truth.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Floating point, passed on bit by bit.
    Double(f64),
    /// Values in order, of one or of several types.
    Array(&'a [AnyValue<'a>]),
    /// Values by key; keys should be unique.
    Map(&'a [KeyValue<'a>]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// An attribute.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KeyValue<'a> {
    /// Its name; one without a name is left out and counted as dropped.
    pub key: &'a str,
    /// Its value.
    pub value: AnyValue<'a>,
}

impl<'a> KeyValue<'a> {
    /// The attribute `key` = `value`.
    #[must_use]
    pub const fn new(key: &'a str, value: AnyValue<'a>) -> Self {
        Self { key, value }
    }
}

/// Tags of the fields of a `KeyValue`.
const KEY: u8 = tag(1, WireType::Bytes) as u8;
const VALUE: u8 = tag(2, WireType::Bytes) as u8;

/// Tags of the fields of an `AnyValue`.
const STRING: u8 = tag(1, WireType::Bytes) as u8;
const BOOL: u8 = tag(2, WireType::Varint) as u8;
const INT: u8 = tag(3, WireType::Varint) as u8;
const DOUBLE: u8 = tag(4, WireType::Fixed64) as u8;
const BYTES: u8 = tag(7, WireType::Bytes) as u8;

/// Keys of fewer bytes make a number's entry one whose lengths are single bytes: 13 stand around the key at most.
const SHORT: usize = 0x80 - 13;

/// Key and piece of together as many bytes make an entry whose lengths are single bytes: 6 stand between them and before the
/// key, behind the entry's length.
const SHORT_PIECE: usize = 0x7F - 6;

/// What stands before the content of a number: its field, the length of its message, its kind. In the lowest bytes.
const fn opening(len: u8, kind: u8) -> u128 {
    u32::from_le_bytes([VALUE, len, kind, 0]) as u128
}

/// What bounds a value: its length and how deep it may still nest.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    length: usize,
    depth: usize,
}

impl Bounds {
    const fn new(length: u32) -> Self {
        Self {
            length: length as usize,
            depth: MAX_VALUE_DEPTH,
        }
    }

    /// The bounds inside an array or map; `None` when that one is at the last depth and has to stay empty.
    const fn inside(self) -> Option<Self> {
        match self.depth.checked_sub(1) {
            Some(depth) => Some(Self { depth, ..self }),
            None => None,
        }
    }

    /// The first `length` characters.
    #[inline]
    fn cut(self, text: &str) -> &str {
        if text.len() <= self.length {
            return text;
        }
        match text.char_indices().nth(self.length) {
            Some((end, _)) => text.get(..end).unwrap_or(text),
            None => text,
        }
    }

    /// The first `length` bytes.
    #[inline]
    fn cut_bytes(self, bytes: &[u8]) -> &[u8] {
        bytes.get(..self.length).unwrap_or(bytes)
    }
}

/// The attributes of one record, with a limit on their number.
///
/// Made by the encoders; attributes beyond the limit, and such without a key, are left out and counted.
#[derive(Debug)]
pub struct Attributes<'o, O> {
    entries: Entries<'o, O>,
    room: u32,
    dropped: u32,
}

impl<'o, O: Out> Attributes<'o, O> {
    /// Attributes in the repeated field `field`: at most `count`, values at most `value_length` long; `dropped` were
    /// dropped before.
    #[inline]
    pub(super) fn new(out: &'o mut O, field: u8, count: u32, value_length: u32, dropped: u32) -> Self {
        Self {
            entries: Entries {
                out,
                field: EntryField::new(field),
                bounds: Bounds::new(value_length),
            },
            room: count,
            dropped,
        }
    }

    /// Adds `key` = `value`.
    #[inline(always)]
    pub fn add(&mut self, key: &str, value: AnyValue<'_>) {
        if self.admit(key) {
            self.entries.add_ref(key, &value);
        }
    }

    /// Adds every attribute of a slice.
    #[inline(always)]
    pub fn add_all(&mut self, attributes: &[KeyValue<'_>]) {
        if !attributes.is_empty() {
            self.apart(|apart| {
                for KeyValue { key, value } in attributes {
                    if apart.admit(key) {
                        apart.entries.add_ref(key, value);
                    }
                }
            });
        }
    }

    /// Adds what `fill` adds, in a function of its own: a loop over attributes then has the registers to itself.
    #[inline(always)]
    pub(super) fn apart(&mut self, fill: impl FnOnce(&mut Attributes<'_, O>)) {
        let Entries { field, bounds, .. } = self.entries;
        let left = self.left();
        let mut out = self.entries.out.lift();
        let left = filled(&mut out, field, bounds, left, fill);
        *self.entries.out = out;
        self.set_left(left);
    }

    /// The same list on another output.
    #[inline(always)]
    pub(super) const fn on<'a>(&self, out: &'a mut O) -> Attributes<'a, O> {
        let Entries { field, bounds, .. } = self.entries;
        Attributes {
            entries: Entries { out, field, bounds },
            room: self.room,
            dropped: self.dropped,
        }
    }

    /// How many still have room, and how many were dropped.
    pub(super) const fn left(&self) -> (u32, u32) {
        (self.room, self.dropped)
    }

    pub(super) const fn set_left(&mut self, left: (u32, u32)) {
        (self.room, self.dropped) = left;
    }

    /// Adds an array whose values `fill` adds.
    #[inline(always)]
    pub fn add_array(&mut self, key: &str, fill: impl FnOnce(&mut Values<'_, O>)) {
        if self.admit(key) {
            self.entries.apart(|entries| entries.add_array(key, fill));
        }
    }

    /// Adds a map whose entries `fill` adds.
    #[inline(always)]
    pub fn add_map(&mut self, key: &str, fill: impl FnOnce(&mut Entries<'_, O>)) {
        if self.admit(key) {
            self.entries.apart(|entries| entries.add_map(key, fill));
        }
    }

    /// Attributes that were left out, earlier ones included.
    pub(super) const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The output, for other fields of the same record.
    pub(super) const fn out(&mut self) -> &mut O {
        self.entries.out
    }

    /// Takes room for one attribute, or counts it as dropped.
    #[inline(always)]
    fn admit(&mut self, key: &str) -> bool {
        match self.room.checked_sub(1) {
            Some(room) if !key.is_empty() => {
                self.room = room;
                true
            }
            _ => {
                self.dropped = self.dropped.saturating_add(1);
                false
            }
        }
    }
}

/// Gives what [`Attributes::left`] does then.
#[inline(never)]
fn filled<O: Out>(
    out: &mut O,
    field: EntryField,
    bounds: Bounds,
    (room, dropped): (u32, u32),
    fill: impl FnOnce(&mut Attributes<'_, O>),
) -> (u32, u32) {
    let mut lifted = out.lift();
    let mut attributes = Attributes {
        entries: Entries {
            out: &mut lifted,
            field,
            bounds,
        },
        room,
        dropped,
    };
    fill(&mut attributes);
    let left = attributes.left();
    *out = lifted;
    left
}

/// The entries of a map, or attributes without a limit on their number.
#[derive(Debug)]
pub struct Entries<'o, O> {
    out: &'o mut O,
    field: EntryField,
    bounds: Bounds,
}

/// The repeated field that entries stand in: 1 to 15, so that its tag is one byte.
#[derive(Clone, Copy, Debug)]
struct EntryField {
    tag: u8,
}

impl EntryField {
    const fn new(number: u8) -> Self {
        Self {
            tag: tag((number & 0xF) as u32, WireType::Bytes) as u8,
        }
    }

    const fn number(self) -> u32 {
        (self.tag >> 3) as u32
    }
}

impl<'o, O: Out> Entries<'o, O> {
    /// Entries in the repeated field `field`, without limits but that of depth.
    pub(super) const fn unlimited(out: &'o mut O, field: u8) -> Self {
        Self {
            out,
            field: EntryField::new(field),
            bounds: Bounds::new(u32::MAX),
        }
    }

    /// Adds `key` = `value`.
    #[inline]
    pub fn add(&mut self, key: &str, value: AnyValue<'_>) {
        self.add_ref(key, &value);
    }

    /// Does `work` on entries of an output apart; see [`Out::apart`].
    #[inline(always)]
    fn apart(&mut self, work: impl FnOnce(&mut Entries<'_, O>)) {
        let (field, bounds) = (self.field, self.bounds);
        self.out.apart(|out| work(&mut Entries { out, field, bounds }));
    }

    /// Inlined into the loops of encoders: the output's state then stays in registers.
    #[inline(always)]
    fn add_ref(&mut self, key: &str, value: &AnyValue<'_>) {
        // Most values are texts: they are told apart first.
        if let AnyValue::String(text) = value {
            return self.add_piece(key, STRING, text.as_bytes(), value);
        }
        // A number with what stands before it.
        let (number, count) = match *value {
            AnyValue::Bytes(bytes) => return self.add_piece(key, BYTES, bytes, value),
            AnyValue::Bool(value) => (opening(2, BOOL) | u128::from(value) << 24, 4),
            AnyValue::Int(value @ 0..0x80) => (opening(2, INT) | (value as u128) << 24, 4),
            AnyValue::Int(value @ 0x80..0x4000) => {
                let varint = value & 0x7F | 0x80 | value << 1 & 0x7F00;
                (opening(3, INT) | (varint as u128) << 24, 5)
            }
            AnyValue::Double(value) => (opening(9, DOUBLE) | u128::from(value.to_bits()) << 24, 11),
            _ => return self.add_long(key, *value),
        };
        if key.len() < SHORT {
            let key_opening = self.key_opening(key.len() as u32, count as u32);
            self.out.numbered(key_opening, key.as_bytes(), number, count);
        } else {
            self.add_long(key, *value);
        }
    }

    /// Adds an entry whose value is a piece of this kind, that of `value`.
    #[inline(always)]
    fn add_piece(&mut self, key: &str, kind: u8, piece: &[u8], value: &AnyValue<'_>) {
        // Three tags and three lengths of one byte each, and nothing to cut. Compared one by one, so that the compiler knows
        // that no sum of these is long.
        let uncut = self.bounds.length.min(SHORT_PIECE);
        if key.len() <= SHORT_PIECE && piece.len() <= uncut && key.len() + piece.len() <= SHORT_PIECE {
            let (key_len, piece_len) = (key.len() as u32, piece.len() as u32);
            let key_opening = self.key_opening(key_len, piece_len + 4);
            // Each length in its place: 2 to 4 bytes behind a field's tag, or behind that of the piece.
            let opening = u32::from_le_bytes([VALUE, 2, kind, 0]) + piece_len * 0x0100_0100;
            self.out
                .pair(key_opening, key.as_bytes(), opening.to_le_bytes(), piece);
        } else {
            self.add_long(key, *value);
        }
    }

    /// What stands before a key of so many bytes: the entry's tag and length, the key's tag and length. The value takes
    /// `value_len` bytes with its own tag and length.
    #[inline(always)]
    fn key_opening(&self, key_len: u32, value_len: u32) -> [u8; 4] {
        let tags = u32::from_le_bytes([self.field.tag, 2, KEY, 0]);
        (tags + key_len * 0x0100_0100 + (value_len << 8)).to_le_bytes()
    }

    /// Adds an entry that does not fit one-byte lengths or is not made of one piece.
    #[inline(always)]
    fn add_long(&mut self, key: &str, value: AnyValue<'_>) {
        self.apart(|entries| write_long(entries.out, entries.field, entries.bounds, key, value));
    }

    /// Adds every entry of a slice.
    #[inline]
    pub fn add_all(&mut self, entries: &[KeyValue<'_>]) {
        for KeyValue { key, value } in entries {
            self.add_ref(key, value);
        }
    }

    /// Adds an array whose values `fill` adds; left empty at the last depth.
    #[inline(never)]
    pub fn add_array(&mut self, key: &str, fill: impl FnOnce(&mut Values<'_, O>)) {
        let entry = self.out.open(self.field.number());
        self.out.bytes_field(1, key.as_bytes());
        write_array(self.out, 2, self.bounds, fill);
        self.out.close(entry);
    }

    /// Adds a map whose entries `fill` adds; left empty at the last depth.
    #[inline(never)]
    pub fn add_map(&mut self, key: &str, fill: impl FnOnce(&mut Entries<'_, O>)) {
        let entry = self.out.open(self.field.number());
        self.out.bytes_field(1, key.as_bytes());
        write_map(self.out, 2, self.bounds, fill);
        self.out.close(entry);
    }
}

/// The values of an array.
#[derive(Debug)]
pub struct Values<'o, O> {
    out: &'o mut O,
    bounds: Bounds,
}

impl<O: Out> Values<'_, O> {
    /// Adds a value.
    pub fn add(&mut self, value: AnyValue<'_>) {
        write_value(self.out, 1, self.bounds, value);
    }

    /// Adds every value of a slice.
    pub fn add_all(&mut self, values: &[AnyValue<'_>]) {
        for value in values {
            self.add(*value);
        }
    }

    /// Adds an array whose values `fill` adds; left empty at the last depth.
    pub fn add_array(&mut self, fill: impl FnOnce(&mut Values<'_, O>)) {
        write_array(self.out, 1, self.bounds, fill);
    }

    /// Adds a map whose entries `fill` adds; left empty at the last depth.
    pub fn add_map(&mut self, fill: impl FnOnce(&mut Entries<'_, O>)) {
        write_map(self.out, 1, self.bounds, fill);
    }
}

/// An entry of any length and kind.
#[cold]
#[inline(never)]
fn write_long<O: Out>(out: &mut O, field: EntryField, bounds: Bounds, key: &str, value: AnyValue<'_>) {
    if let Some(len) = plain_len(value, bounds) {
        let entry = delimited_len(key.len())
            .saturating_add(delimited_len(len))
            .saturating_add(2);
        out.message(field.number(), entry);
        out.bytes_field(1, key.as_bytes());
        write_value(out, 2, bounds, value);
    } else {
        let entry = out.open(field.number());
        out.bytes_field(1, key.as_bytes());
        write_value(out, 2, bounds, value);
        out.close(entry);
    }
}

/// Bytes of the `AnyValue` message of a value that holds no others; `None` for arrays and maps.
fn plain_len(value: AnyValue<'_>, bounds: Bounds) -> Option<usize> {
    Some(match value {
        AnyValue::Empty => 0,
        AnyValue::String(text) => delimited_len(bounds.cut(text).len()).saturating_add(1),
        AnyValue::Bool(_) => 2,
        AnyValue::Int(value) => varint_len(value as u64).saturating_add(1),
        AnyValue::Double(_) => 9,
        AnyValue::Bytes(bytes) => delimited_len(bounds.cut_bytes(bytes).len()).saturating_add(1),
        AnyValue::Array(_) | AnyValue::Map(_) => return None,
    })
}

/// Writes `value` as the message field `field`.
fn write_value<O: Out>(out: &mut O, field: u32, bounds: Bounds, value: AnyValue<'_>) {
    if let Some(len) = plain_len(value, bounds) {
        out.message(field, len);
    }
    match value {
        AnyValue::Empty => {}
        AnyValue::String(text) => out.bytes_field(1, bounds.cut(text).as_bytes()),
        AnyValue::Bool(value) => out.varint_field(2, u64::from(value)),
        AnyValue::Int(value) => out.varint_field(3, value as u64),
        AnyValue::Double(value) => out.fixed64_field(4, value.to_bits()),
        AnyValue::Array(values) => write_array(out, field, bounds, |array| array.add_all(values)),
        AnyValue::Map(entries) => write_map(out, field, bounds, |map| map.add_all(entries)),
        AnyValue::Bytes(bytes) => out.bytes_field(7, bounds.cut_bytes(bytes)),
    }
}

/// Writes a text without limits as the value that the field `field`, up to 15, is.
#[inline(always)]
pub(super) fn write_text<O: Out>(out: &mut O, field: u8, text: &str) {
    if text.len() < 0x7E {
        let len = text.len() as u8;
        let before = [EntryField::new(field).tag, len.wrapping_add(2), STRING, len];
        out.framed(&before, text.as_bytes(), &[]);
    } else {
        out.apart(|out| write_unlimited(out, u32::from(field), AnyValue::String(text)));
    }
}

/// Writes a value without limits but that of depth, such as the body of a log.
pub(super) fn write_unlimited<O: Out>(out: &mut O, field: u32, value: AnyValue<'_>) {
    write_value(out, field, Bounds::new(u32::MAX), value);
}

/// Writes an array value without limits but that of depth.
pub(super) fn write_unlimited_array<O: Out>(out: &mut O, field: u32, fill: impl FnOnce(&mut Values<'_, O>)) {
    write_array(out, field, Bounds::new(u32::MAX), fill);
}

/// Writes a map value without limits but that of depth.
pub(super) fn write_unlimited_map<O: Out>(out: &mut O, field: u32, fill: impl FnOnce(&mut Entries<'_, O>)) {
    write_map(out, field, Bounds::new(u32::MAX), fill);
}

fn write_array<O: Out>(out: &mut O, field: u32, bounds: Bounds, fill: impl FnOnce(&mut Values<'_, O>)) {
    let value = out.open(field);
    let list = out.open(5);
    if let Some(bounds) = bounds.inside() {
        fill(&mut Values { out, bounds });
    }
    close_list(out, list, value);
}

fn write_map<O: Out>(out: &mut O, field: u32, bounds: Bounds, fill: impl FnOnce(&mut Entries<'_, O>)) {
    let value = out.open(field);
    let list = out.open(6);
    if let Some(bounds) = bounds.inside() {
        fill(&mut Entries {
            out,
            field: EntryField::new(1),
            bounds,
        });
    }
    close_list(out, list, value);
}

fn close_list<O: Out>(out: &mut O, list: Open, value: Open) {
    out.close(list);
    out.close(value);
}
