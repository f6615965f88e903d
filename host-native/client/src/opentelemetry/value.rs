//! Values of the OpenTelemetry API as the encoder's values, without copying them.

use std::collections::HashMap;

use ::opentelemetry::logs::AnyValue as LogValue;
use ::opentelemetry::{Array, Key, KeyValue, Value};
use surgetank_core::wire::otlp::encode::{AnyValue, Attributes, Entries, Values};
use surgetank_core::wire::otlp::protobuf::Out;

/// A value in one piece, or the array that it is.
pub(super) fn plain(value: &Value) -> Result<AnyValue<'_>, &Array> {
    Ok(match value {
        Value::Bool(value) => AnyValue::Bool(*value),
        Value::I64(value) => AnyValue::Int(*value),
        Value::F64(value) => AnyValue::Double(*value),
        Value::String(value) => AnyValue::String(value.as_str()),
        Value::Array(array) => return Err(array),
        // A kind that the API gains later.
        _ => AnyValue::Empty,
    })
}

pub(super) fn fill_array<O: Out>(values: &mut Values<'_, O>, array: &Array) {
    match array {
        Array::Bool(array) => array.iter().for_each(|value| values.add(AnyValue::Bool(*value))),
        Array::I64(array) => array.iter().for_each(|value| values.add(AnyValue::Int(*value))),
        Array::F64(array) => array
            .iter()
            .for_each(|value| values.add(AnyValue::Double(*value))),
        Array::String(array) => array
            .iter()
            .for_each(|value| values.add(AnyValue::String(value.as_str()))),
        _ => {}
    }
}

/// Attributes of a span, event or link. Each kind by itself: it is told apart once, and not again by the encoder. Texts, which
/// most are, before the others.
#[inline(always)]
pub(super) fn fill_attributes<O: Out>(attributes: &mut Attributes<'_, O>, list: &[KeyValue]) {
    for KeyValue { key, value, .. } in list {
        let key = key.as_str();
        if let Value::String(text) = value {
            attributes.add(key, AnyValue::String(text.as_str()));
            continue;
        }
        match value {
            Value::I64(value) => attributes.add(key, AnyValue::Int(*value)),
            Value::F64(value) => attributes.add(key, AnyValue::Double(*value)),
            Value::Bool(value) => attributes.add(key, AnyValue::Bool(*value)),
            Value::Array(array) => attributes.add_array(key, |values| fill_array(values, array)),
            // A kind that the API gains later.
            _ => attributes.add(key, AnyValue::Empty),
        }
    }
}

/// One attribute of a resource or scope.
pub(super) fn add_entry<O: Out>(entries: &mut Entries<'_, O>, key: &Key, value: &Value) {
    match plain(value) {
        Ok(value) => entries.add(key.as_str(), value),
        Err(array) => entries.add_array(key.as_str(), |values| fill_array(values, array)),
    }
}

/// What holds other values of a log.
pub(super) enum Nested<'a> {
    List(&'a [LogValue]),
    Map(&'a HashMap<Key, LogValue>),
}

/// A log's value in one piece, or what it holds.
pub(super) fn plain_log(value: &LogValue) -> Result<AnyValue<'_>, Nested<'_>> {
    Ok(match value {
        LogValue::Boolean(value) => AnyValue::Bool(*value),
        LogValue::Int(value) => AnyValue::Int(*value),
        LogValue::Double(value) => AnyValue::Double(*value),
        LogValue::String(value) => AnyValue::String(value.as_str()),
        LogValue::Bytes(bytes) => AnyValue::Bytes(bytes),
        LogValue::ListAny(list) => return Err(Nested::List(list)),
        LogValue::Map(map) => return Err(Nested::Map(map)),
        // A kind that the API gains later.
        _ => AnyValue::Empty,
    })
}

pub(super) fn fill_list<O: Out>(values: &mut Values<'_, O>, list: &[LogValue]) {
    for value in list {
        match plain_log(value) {
            Ok(value) => values.add(value),
            Err(Nested::List(list)) => values.add_array(|values| fill_list(values, list)),
            Err(Nested::Map(map)) => values.add_map(|entries| fill_map(entries, map)),
        }
    }
}

#[expect(
    clippy::iter_over_hash_type,
    reason = "a map is passed on in the order it has; a record is encoded from one map, which does not change"
)]
pub(super) fn fill_map<O: Out>(entries: &mut Entries<'_, O>, map: &HashMap<Key, LogValue>) {
    for (key, value) in map {
        let key = key.as_str();
        match plain_log(value) {
            Ok(value) => entries.add(key, value),
            Err(Nested::List(list)) => entries.add_array(key, |values| fill_list(values, list)),
            Err(Nested::Map(map)) => entries.add_map(key, |entries| fill_map(entries, map)),
        }
    }
}
