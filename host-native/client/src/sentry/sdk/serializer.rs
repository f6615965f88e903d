//! The `sentry` crate's types as JSON text.
//!
//! What `serde_json` writes, byte for byte, at a third of the work: it looks at each byte of a text and grows its output piece
//! by piece; this looks at sixteen bytes at once and writes into memory that is there. What is rare in events (floats of 32
//! bits, 128-bit numbers, keys that are no text) is [`Unusual`], and the caller takes `serde_json` for the whole.

use core::fmt::{self, Display, Write as _};
use std::io;

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};
use surgetank_core::wire::otlp::protobuf::{Out, Writer};

use super::place::Place;
use crate::json::Json;

/// Writes `value`, of which is known what `place` says, to the front of `bytes` and says how long it is; `None` when it does
/// not fit.
pub(super) fn write<T: Serialize>(
    value: &T,
    place: Place<'_>,
    bytes: &mut [u8],
) -> Result<Option<usize>, Unusual> {
    let mut out = Writer::new(bytes);
    value.serialize(Serializer {
        out: &mut out,
        place,
        as_key: false,
    })?;
    Ok(out.finish().ok())
}

/// The value is one that this serializer leaves to `serde_json`.
#[derive(Debug)]
pub(super) struct Unusual;

impl Display for Unusual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that is left to serde_json")
    }
}

impl core::error::Error for Unusual {}

impl ser::Error for Unusual {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

struct Serializer<'o, 'w, 'v> {
    out: &'o mut Writer<'w>,
    place: Place<'v>,
    /// Only a text can stand here.
    as_key: bool,
}

impl<'o, 'w, 'v> Serializer<'o, 'w, 'v> {
    /// The output, where a value can stand.
    fn value(self) -> Result<&'o mut Writer<'w>, Unusual> {
        if self.as_key { Err(Unusual) } else { Ok(self.out) }
    }

    fn compound(self, start: &'static [u8], end: &'static [u8]) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        let place = self.place.clone();
        let out = self.value()?;
        out.raw(start);
        Ok(Compound {
            out,
            place,
            first: true,
            end,
        })
    }

    /// A value that stands in an object under the name of its variant.
    fn variant(
        self,
        variant: &'static str,
        start: &'static [u8],
        end: &'static [u8],
    ) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        let out = self.value()?;
        out.raw(b"{");
        text(out, variant);
        out.raw(start);
        Ok(Compound {
            out,
            place: Place::Unknown,
            first: true,
            end,
        })
    }
}

#[inline(never)]
fn text(out: &mut Writer<'_>, text: &str) {
    Json::new(out).str(text);
}

/// A member's key with its colon.
#[inline(never)]
fn key(out: &mut Writer<'_>, first: bool, key: &str) {
    if first {
        Json::new(out).framed(b"\"", key, b"\":");
    } else {
        Json::new(out).framed(b",\"", key, b"\":");
    }
}

/// The name under which `serde_json` passes on text that is JSON already.
const RAW: &str = "$serde_json::private::RawValue";

impl<'o, 'w, 'v> ser::Serializer for Serializer<'o, 'w, 'v> {
    type Ok = ();
    type Error = Unusual;
    type SerializeSeq = Compound<'o, 'w, 'v>;
    type SerializeTuple = Compound<'o, 'w, 'v>;
    type SerializeTupleStruct = Compound<'o, 'w, 'v>;
    type SerializeTupleVariant = Compound<'o, 'w, 'v>;
    type SerializeMap = Compound<'o, 'w, 'v>;
    type SerializeStruct = Compound<'o, 'w, 'v>;
    type SerializeStructVariant = Compound<'o, 'w, 'v>;

    fn serialize_bool(self, value: bool) -> Result<(), Unusual> {
        Json::new(self.value()?).bool(value);
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Unusual> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Unusual> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Unusual> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Unusual> {
        Json::new(self.value()?).i64(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Unusual> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Unusual> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Unusual> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Unusual> {
        Json::new(self.value()?).u64(value);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unusual> {
        Err(Unusual)
    }

    /// With an exponent where `serde_json` has one, which is not where the formatter has it.
    fn serialize_f64(self, value: f64) -> Result<(), Unusual> {
        serde_json::to_writer(Bytes(self.value()?), &value).map_err(|_| Unusual)
    }

    fn serialize_char(self, value: char) -> Result<(), Unusual> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Unusual> {
        text(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unusual> {
        Err(Unusual)
    }

    fn serialize_none(self) -> Result<(), Unusual> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unusual> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unusual> {
        self.value()?.raw(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unusual> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unusual> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unusual> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unusual> {
        let mut member = self.variant(variant, b":", b"}")?;
        value.serialize(member.at(Place::Unknown))?;
        member.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.compound(b"[", b"]")
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.compound(b"[", b"]")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.compound(b"[", b"]")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.variant(variant, b":[", b"]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.compound(b"{", b"}")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        if name == RAW {
            return Err(Unusual);
        }
        let place = self.place.clone().object(name);
        Self { place, ..self }.compound(b"{", b"}")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'o, 'w, 'v>, Unusual> {
        self.variant(variant, b":{", b"}}")
    }

    /// Without a text of its own in between.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Unusual> {
        self.out.raw(b"\"");
        write!(Inside(self.out), "{value}").map_err(|_| Unusual)?;
        self.out.raw(b"\"");
        Ok(())
    }
}

/// An array or object that is being written.
struct Compound<'o, 'w, 'v> {
    out: &'o mut Writer<'w>,
    place: Place<'v>,
    first: bool,
    end: &'static [u8],
}

impl<'w, 'v> Compound<'_, 'w, 'v> {
    /// A value where the text ends now.
    fn at(&mut self, place: Place<'v>) -> Serializer<'_, 'w, 'v> {
        Serializer {
            out: self.out,
            place,
            as_key: false,
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unusual> {
        if !self.first {
            self.out.raw(b",");
        }
        self.first = false;
        let place = self.place.element();
        value.serialize(self.at(place))
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unusual> {
        key(self.out, self.first, name);
        self.first = false;
        match self.place.member(name, self.out) {
            Some(place) => value.serialize(self.at(place)),
            None => Ok(()),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "what serde wants at an end")]
    fn close(self) -> Result<(), Unusual> {
        self.out.raw(self.end);
        Ok(())
    }
}

macro_rules! elements {
    ($($name:ident $call:ident)*) => {$(
        impl $name for Compound<'_, '_, '_> {
            type Ok = ();
            type Error = Unusual;

            fn $call<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unusual> {
                self.element(value)
            }

            fn end(self) -> Result<(), Unusual> {
                self.close()
            }
        }
    )*};
}

elements!(SerializeSeq serialize_element SerializeTuple serialize_element);
elements!(SerializeTupleStruct serialize_field SerializeTupleVariant serialize_field);

macro_rules! members {
    ($($name:ident)*) => {$(
        impl $name for Compound<'_, '_, '_> {
            type Ok = ();
            type Error = Unusual;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Unusual> {
                self.member(key, value)
            }

            fn end(self) -> Result<(), Unusual> {
                self.close()
            }
        }
    )*};
}

members!(SerializeStruct SerializeStructVariant);

impl SerializeMap for Compound<'_, '_, '_> {
    type Ok = ();
    type Error = Unusual;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unusual> {
        if !self.first {
            self.out.raw(b",");
        }
        self.first = false;
        key.serialize(Serializer {
            out: self.out,
            place: Place::Unknown,
            as_key: true,
        })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unusual> {
        self.out.raw(b":");
        let place = self.place.element();
        value.serialize(self.at(place))
    }

    fn end(self) -> Result<(), Unusual> {
        self.close()
    }
}

/// Takes what is formatted into a string.
struct Inside<'o, 'w>(&'o mut Writer<'w>);

impl fmt::Write for Inside<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Json::new(self.0).framed(b"", text, b"");
        Ok(())
    }
}

/// Takes bytes as they are.
struct Bytes<'o, 'w>(&'o mut Writer<'w>);

impl io::Write for Bytes<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.raw(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use serde::{Serialize, Serializer as _};

    #[derive(Serialize)]
    enum Kind {
        Unit,
        Newtype(u8),
        Tuple(i64, bool),
        Struct { a: Option<&'static str>, b: () },
    }

    #[derive(Serialize)]
    struct Everything {
        numbers: (i8, i16, i32, i64, u8, u16, u32, u64),
        floats: Vec<f64>,
        kinds: Vec<Kind>,
        character: char,
        map: BTreeMap<String, Vec<BTreeMap<Kind2, f64>>>,
        #[serde(rename = "a \"quoted\"\nkey")]
        odd: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        #[serde(serialize_with = "displayed")]
        shown: &'static str,
        value: serde_json::Value,
        unit: Unit,
        newtype: Newtype,
    }

    #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
    #[serde(rename_all = "lowercase")]
    enum Kind2 {
        First,
        Second,
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Newtype(String);

    fn displayed<S: ser::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("<{text}> {:?}", text))
    }

    fn everything() -> Everything {
        Everything {
            numbers: (-1, i16::MIN, 0, i64::MIN, 255, 10, 99_999_999, u64::MAX),
            floats: vec![
                0.0,
                -0.0,
                1.5,
                1e16,
                1e-7,
                f64::MAX,
                f64::NAN,
                1_700_000_000.25,
                123.0,
            ],
            kinds: vec![
                Kind::Unit,
                Kind::Newtype(7),
                Kind::Tuple(-3, true),
                Kind::Struct { a: Some("x"), b: () },
                Kind::Struct { a: None, b: () },
            ],
            character: '\u{1F600}',
            map: [
                (String::new(), vec![]),
                (
                    "key \\ \u{7}".to_owned(),
                    vec![
                        [(Kind2::First, 1.0), (Kind2::Second, 0.1)].into(),
                        BTreeMap::new(),
                    ],
                ),
            ]
            .into(),
            odd: "tab\t, bell\u{7}, line\r\n, \u{2028}, end of a long text that has an escape far behind: \"",
            left_out: None,
            shown: "say \"so\"",
            value: serde_json::json!({"a": [1, -2, 2.5, null, true, {"b": "c"}], "d": {}}),
            unit: Unit,
            newtype: Newtype("inside".to_owned()),
        }
    }

    #[test]
    fn it_is_what_serde_json_writes() {
        let everything = everything();
        let expected = serde_json::to_vec(&everything).unwrap();
        let mut bytes = vec![0; expected.len()];
        assert_eq!(
            write(&everything, Place::Unknown, &mut bytes).unwrap(),
            Some(expected.len())
        );
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&expected)
        );
        for room in 0..expected.len() {
            let written = write(&everything, Place::Unknown, &mut bytes[..room]).unwrap();
            assert_eq!(written, None, "{room} of {}", expected.len());
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_serde_json() {
        let mut bytes = [0; 100];
        let numbers: BTreeMap<u8, u8> = [(1, 2)].into();
        assert!(write(&numbers, Place::Unknown, &mut bytes).is_err());
        assert!(write(&0.5_f32, Place::Unknown, &mut bytes).is_err());
        assert!(write(&1_u128, Place::Unknown, &mut bytes).is_err());
        let keys: BTreeMap<Option<char>, ()> = [(Some('a'), ())].into();
        assert_eq!(write(&keys, Place::Unknown, &mut bytes).unwrap(), Some(10));
        let unit: BTreeMap<(), ()> = [((), ())].into();
        assert!(write(&unit, Place::Unknown, &mut bytes).is_err());
    }

    #[test]
    fn bytes_are_left_to_serde_json() {
        struct Raw;
        impl Serialize for Raw {
            fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&[1, 2])
            }
        }
        assert!(write(&Raw, Place::Unknown, &mut [0; 100]).is_err());
        let out = &mut Writer::new(&mut []);
        let place = Place::Unknown;
        assert!(
            Serializer {
                out,
                place,
                as_key: true
            }
            .serialize_bool(true)
            .is_err()
        );
    }
}
