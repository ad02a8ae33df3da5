//! Fixes values with another type or spelling than the schema wants, such as `"5"` for `5`.

use jsonschema::JsonType;
use mcphub_hub_protocol::json_splice;
use serde_json::Value;

use crate::arguments::fix::{Correction, CorrectionKind, Fix, PossibleFixes};
use crate::arguments::spelling::{self, WordMatch};
use crate::arguments::subschemas::Subschemas;
use crate::arguments::text::{self, Edit, PathSegment};

/// The possible fixes for a value that has none of these types.
pub(super) fn fix_type(
    root: &Value,
    text: &str,
    path: &[PathSegment],
    types: &[JsonType],
) -> PossibleFixes {
    let Some(raw) = text::at(text, path) else { return PossibleFixes::None };
    let content = json_splice::unquoted(raw);
    let wants = |json_type: JsonType| types.contains(&json_type);
    let mut fixes = Vec::new();
    if let Some(content) = &content {
        if wants(JsonType::Number) || wants(JsonType::Integer) {
            let number = spelling::number(content, !wants(JsonType::Number));
            fixes.extend(
                number.and_then(|number| replace(text, path, raw, number, CorrectionKind::Number)),
            );
        }
        if wants(JsonType::Boolean) {
            let boolean = spelling::boolean(content);
            fixes
                .extend(boolean.and_then(|boolean| {
                    replace(text, path, raw, boolean, CorrectionKind::Boolean)
                }));
        }
    }
    if wants(JsonType::Array) && is_one_item(root, path, raw, content.as_deref()) {
        fixes.extend(replace(text, path, raw, &format!("[{raw}]"), CorrectionKind::Array));
    }
    PossibleFixes::exactly_one(fixes)
}

/// Whether the value can only be one item of the list that belongs here.
fn is_one_item(root: &Value, path: &[PathSegment], raw: &str, content: Option<&str>) -> bool {
    if let Some(content) = content {
        return !spelling::may_be_many(content);
    }
    if raw.starts_with('{') {
        // `{"items": […]}` for `[…]` is another mistake.
        let item: Vec<PathSegment> = path.iter().cloned().chain([PathSegment::Index(0)]).collect();
        let declared = Subschemas::at(root, &item).properties();
        let members = text::unique_members(raw).unwrap_or_default();
        return !members.is_empty()
            && members.iter().all(|member| declared.contains_key(&*member.key));
    }
    !raw.starts_with('[') && raw != "null"
}

/// The possible fixes for a string that is none of these values.
pub(super) fn fix_enum(text: &str, path: &[PathSegment], options: &[Value]) -> PossibleFixes {
    let Some((raw, content)) =
        text::at(text, path).and_then(|raw| Some((raw, json_splice::unquoted(raw)?)))
    else {
        return PossibleFixes::None;
    };
    // A schema with an enum of numbers may have no type, so the error is about the enum.
    let same =
        options.iter().filter(|option| !option.is_string() && option.to_string() == *content);
    let same = same.filter_map(|option| match option {
        Value::Number(_) => replace(text, path, raw, &content, CorrectionKind::Number),
        Value::Bool(_) => replace(text, path, raw, &content, CorrectionKind::Boolean),
        _ => None,
    });
    let same: Vec<Fix> = same.collect();
    if !same.is_empty() {
        return PossibleFixes::exactly_one(same);
    }
    let words: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
    match spelling::best_match(&content, &words) {
        None => PossibleFixes::None,
        Some(WordMatch::Ambiguous) => PossibleFixes::Ambiguous,
        Some(WordMatch::One(option)) => {
            let mut fix =
                replace(text, path, raw, &json_splice::quoted(option), CorrectionKind::Enum);
            for correction in fix.iter_mut().flat_map(|fix| &mut fix.corrections) {
                correction.from = Some(content.clone().into_owned());
                correction.to = Some(option.to_owned());
            }
            PossibleFixes::exactly_one(fix.into_iter().collect())
        }
    }
}

fn replace(
    text: &str,
    path: &[PathSegment],
    raw: &str,
    with: &str,
    kind: CorrectionKind,
) -> Option<Fix> {
    let corrections =
        vec![Correction { kind, path: text::format_path(path), from: None, to: None }];
    Some(Fix { edits: vec![Edit::replace(text, raw, with)?], corrections })
}
