//! Values of another type or spelling than the schema wants.

use jsonschema::JsonType;
use serde_json::Value;

use super::{Fix, Found};
use crate::arguments::correction::{Correction, Kind};
use crate::arguments::place::Place;
use crate::arguments::spelling::{self, Meant};
use crate::arguments::text::{self, Edit, Step};
use mcphub_hub_protocol::json_splice;

pub(super) fn of_type(root: &Value, text: &str, path: &[Step], types: &[JsonType]) -> Found {
    let Some(raw) = text::at(text, path) else { return Found::None };
    let content = json_splice::unquoted(raw);
    let wants = |wanted: JsonType| types.contains(&wanted);
    let mut fixes = Vec::new();
    if let Some(content) = &content {
        if wants(JsonType::Number) || wants(JsonType::Integer) {
            let number = spelling::number(content, !wants(JsonType::Number));
            fixes.extend(number.and_then(|number| replaced(text, path, raw, number, Kind::Number)));
        }
        if wants(JsonType::Boolean) {
            let boolean = spelling::boolean(content);
            fixes.extend(
                boolean.and_then(|boolean| replaced(text, path, raw, boolean, Kind::Boolean)),
            );
        }
    }
    if wants(JsonType::Array) && is_one_item(root, path, raw, content.as_deref()) {
        fixes.extend(replaced(text, path, raw, &format!("[{raw}]"), Kind::Array));
    }
    Found::only(fixes)
}

/// Whether the value can be nothing but one item of the list that belongs here.
fn is_one_item(root: &Value, path: &[Step], raw: &str, content: Option<&str>) -> bool {
    if let Some(content) = content {
        return !spelling::may_be_many(content);
    }
    if raw.starts_with('{') {
        // `{"items": […]}` for `[…]` is another mistake.
        let item: Vec<Step> = path.iter().cloned().chain([Step::Index(0)]).collect();
        let declared = Place::at(root, &item).declared();
        let members = text::members(raw).unwrap_or_default();
        return !members.is_empty()
            && members.iter().all(|member| declared.contains_key(&*member.key));
    }
    !raw.starts_with('[') && raw != "null"
}

pub(super) fn of_choice(text: &str, path: &[Step], options: &[Value]) -> Found {
    let Some((raw, content)) =
        text::at(text, path).and_then(|raw| Some((raw, json_splice::unquoted(raw)?)))
    else {
        return Found::None;
    };
    // An enum of numbers needs no type besides.
    let same =
        options.iter().filter(|option| !option.is_string() && option.to_string() == *content);
    let same = same.filter_map(|option| match option {
        Value::Number(_) => replaced(text, path, raw, &content, Kind::Number),
        Value::Bool(_) => replaced(text, path, raw, &content, Kind::Boolean),
        _ => None,
    });
    let same: Vec<Fix> = same.collect();
    if !same.is_empty() {
        return Found::only(same);
    }
    let words: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
    match spelling::meant(&content, &words) {
        None => Found::None,
        Some(Meant::Ambiguous) => Found::Ambiguous,
        Some(Meant::One(option)) => {
            let mut fix = replaced(text, path, raw, &json_splice::quoted(option), Kind::Enum);
            for made in fix.iter_mut().flat_map(|fix| &mut fix.made) {
                made.from = Some(content.clone().into_owned());
                made.to = Some(option.to_owned());
            }
            Found::only(fix.into_iter().collect())
        }
    }
}

fn replaced(text: &str, path: &[Step], raw: &str, with: &str, kind: Kind) -> Option<Fix> {
    let made = vec![Correction { kind, path: text::written(path), from: None, to: None }];
    Some(Fix { edits: vec![Edit::replace(text, raw, with)?], made })
}
