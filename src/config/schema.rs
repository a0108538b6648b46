//! The JSON Schema of the file (draft 2020-12), for editors: made from the declarations in `file/`.

use serde_json::{Map, Value, json};

use super::file::File;
use super::shape::{Description, Key, Kind, Presence, Shape};
use super::table::Table;

/// The JSON Schema of the file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("gateway.toml"));
    schema.extend(table(&File::description()));
    Value::Object(schema)
}

fn table(description: &Description) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in &description.keys {
        properties.insert(key.name.to_owned(), Value::Object(property(key)));
        if key.presence == Presence::Required {
            required.push(key.name);
        }
    }
    let mut table = Map::new();
    table.insert("description".to_owned(), json!(description.doc));
    table.insert("type".to_owned(), json!("object"));
    table.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        table.insert("required".to_owned(), json!(required));
    }
    table.insert("additionalProperties".to_owned(), json!(false));
    table
}

fn property(key: &Key) -> Map<String, Value> {
    let mut property = shape(&key.shape);
    // The key's own words; those of the table it holds stand in the table's schema.
    property.insert("title".to_owned(), json!(key.name));
    let mut doc = key.doc.clone();
    match key.presence {
        Presence::Required => {}
        Presence::Optional(None) => {}
        Presence::Optional(Some(or)) => doc.push_str(&format!("\n\nDefault: {or}.")),
        Presence::Default(default) => {
            if let Some(value) = as_json(default) {
                property.insert("default".to_owned(), value);
            }
        }
    }
    property.insert("description".to_owned(), json!(doc));
    property
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let value = match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::False => json!({ "const": false }),
        Shape::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Text(kind) => text(kind),
        Shape::Words(words) => {
            let all: Vec<&str> = words.iter().map(|word| word.word).collect();
            let docs: Vec<&str> = words.iter().map(|word| word.doc.trim()).collect();
            // `x-taplo` is what the TOML language server shows beside each word.
            json!({ "anyOf": [
                { "type": "string", "enum": all, "x-taplo": { "docs": { "enumValues": docs } } },
                { "type": "string", "pattern": "\\$\\{" },
            ] })
        }
        Shape::List { of, min } => {
            let mut list = json!({ "type": "array", "items": self::shape(of) });
            if let (Value::Object(list), true) = (&mut list, *min > 0) {
                list.insert("minItems".to_owned(), json!(min));
            }
            list
        }
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(self::shape).collect::<Vec<_>>() }),
        Shape::Table(description) => Value::Object(table(description)),
        Shape::Named(of) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[a-z0-9_-]{1,64}$" },
            "additionalProperties": self::shape(of),
        }),
        Shape::Pairs(of) => json!({ "type": "object", "additionalProperties": self::shape(of) }),
    };
    match value {
        Value::Object(value) => value,
        _ => Map::new(),
    }
}

fn text(kind: &Kind) -> Value {
    match kind.pattern {
        // A value with an environment variable in it is checked when it is known.
        Some(pattern) if kind.substituted => {
            json!({ "type": "string", "pattern": format!("{pattern}|\\$\\{{"), "examples": [kind.example] })
        }
        Some(pattern) => json!({ "type": "string", "pattern": pattern, "examples": [kind.example] }),
        None => json!({ "type": "string" }),
    }
}

/// A TOML value as JSON; defaults hold no dates and no fractions.
fn as_json(default: &str) -> Option<Value> {
    fn convert(value: &toml::de::DeValue<'_>) -> Option<Value> {
        use toml::de::DeValue;
        Some(match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => json!(number.as_str().parse::<u64>().ok()?),
            DeValue::Boolean(value) => json!(value),
            DeValue::Array(items) => Value::Array(items.iter().filter_map(|item| convert(item.get_ref())).collect()),
            DeValue::Table(table) => Value::Object(
                table
                    .iter()
                    .filter_map(|(key, value)| Some((key.get_ref().to_string(), convert(value.get_ref())?)))
                    .collect(),
            ),
            DeValue::Float(_) | DeValue::Datetime(_) => return None,
        })
    }
    let document = format!("default = {default}");
    let parsed = toml::de::DeTable::parse(&document).ok()?;
    parsed
        .get_ref()
        .values()
        .next()
        .and_then(|value| convert(value.get_ref()))
}
