//! Values of the OpenTelemetry API as JSON, for what goes to Sentry.

use ::opentelemetry::{Array, Key, KeyValue, Value};
use surgetank_core::wire::otlp::encode::Limits;
use surgetank_core::wire::otlp::protobuf::Out;

use super::value::plain;
use crate::json::Json;

/// Members of an object: attributes within the limits. Of a key that occurs again, the last one counts to a reader.
pub(super) fn write_attributes<'a, O: Out>(
    json: &mut Json<'_, O>,
    attributes: impl Iterator<Item = &'a KeyValue>,
    most: u32,
    limits: &Limits,
) {
    for KeyValue { key, value, .. } in attributes.take(most as usize) {
        write_member(json, key, value, limits);
    }
}

pub(super) fn write_member<O: Out>(json: &mut Json<'_, O>, key: &Key, value: &Value, limits: &Limits) {
    json.key(key.as_str());
    match value {
        Value::String(text) => json.str(cut(text.as_str(), limits)),
        Value::Array(array) => write_array(json, array, limits),
        value => {
            if let Ok(value) = plain(value) {
                json.value(&value);
            }
        }
    }
}

fn write_array<O: Out>(json: &mut Json<'_, O>, array: &Array, limits: &Limits) {
    json.begin_array();
    match array {
        Array::Bool(array) => array.iter().for_each(|value| json.bool(*value)),
        Array::I64(array) => array.iter().for_each(|value| json.i64(*value)),
        Array::F64(array) => array.iter().for_each(|value| json.f64(*value)),
        Array::String(array) => {
            for value in array {
                json.str(cut(value.as_str(), limits));
            }
        }
        // A kind that the API gains later.
        _ => {}
    }
    json.end_array();
}

/// The first characters, as many as a value may have.
fn cut<'a>(text: &'a str, limits: &Limits) -> &'a str {
    let most = limits.value_length as usize;
    if text.len() <= most {
        return text;
    }
    let end = text.char_indices().nth(most);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::collected;

    #[test]
    fn values_are_cut_by_characters_and_attributes_by_number() {
        let list = |values: Array| Value::Array(values);
        let attributes = [
            KeyValue::new("a", "äöü"),
            KeyValue::new("b", list(Array::String(vec!["abc".into(), "x".into()]))),
            KeyValue::new("c", list(Array::F64(vec![0.5, f64::NAN]))),
            KeyValue::new("d", list(Array::Bool(vec![true]))),
            KeyValue::new("e", list(Array::I64(vec![-1]))),
            KeyValue::new("f", 2.0),
            KeyValue::new("g", false),
            KeyValue::new("h", "one too many"),
        ];
        let limits = Limits {
            value_length: 2,
            ..Limits::default()
        };
        let bytes = collected(|out| {
            let mut json = Json::new(out);
            json.begin_object();
            write_attributes(&mut json, attributes.iter(), 7, &limits);
            json.end_object();
        });
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"a":"äö","b":["ab","x"],"c":[0.5,null],"d":[true],"e":[-1],"f":2.0,"g":false}"#
        );
    }
}
