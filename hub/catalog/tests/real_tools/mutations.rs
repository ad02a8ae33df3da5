//! Makes typical mistakes of models in a valid call. Each result says whether there is more than
//! one way to correct it.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use crate::calls::{Call, Pointer, Site};

pub(crate) const KINDS: [&str; 9] = [
    "key in another case",
    "enum in another case",
    "enum with a typo",
    "number as a string",
    "boolean as a string",
    "one item without its list",
    "wrapped in an object",
    "moved into another object",
    "two or three of these",
];

pub(crate) struct Mutated {
    pub(crate) value: Value,
    /// The result could stand for more than one valid call.
    pub(crate) ambiguous: bool,
}

/// The call with a mistake of this kind; `None` if it has no place for one.
pub(crate) fn mutated(kind: usize, rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    match kind {
        0 => key(rng, call),
        1 => choice(rng, call, |_, word| flip_case(word)),
        2 => choice(rng, call, typo),
        3 => scalar(rng, call, |site, value| {
            (matches!(site, Site::Number) && value.is_number()).then(|| value.to_string())
        }),
        4 => scalar(rng, call, |site, value| match (site, value) {
            (Site::Boolean, Value::Bool(true)) => Some("True".into()),
            (Site::Boolean, Value::Bool(false)) => Some("false".into()),
            _ => None,
        }),
        5 => single(rng, call),
        6 => wrapped(rng, call),
        7 => moved(rng, call),
        _ => several(rng, call),
    }
}

fn several(rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    let mut all = Mutated { value: call.value.clone(), ambiguous: false };
    let mut made = 0;
    // Values first, because a place cannot be found after its key has changed.
    for kind in [3, 4, 1, 2, 5, 0] {
        if made == 3 || rng.random_bool(0.3) {
            continue;
        }
        let now = Call { value: all.value.clone(), sites: call.sites.clone() };
        if let Some(next) = mutated(kind, rng, &now) {
            all = Mutated { value: next.value, ambiguous: all.ambiguous || next.ambiguous };
            made += 1;
        }
    }
    (made >= 2).then_some(all)
}

fn key(rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    let mut places = Vec::new();
    for (at, site) in &call.sites {
        let Site::Object { declared, .. } = site else { continue };
        let Some(object) = get(&call.value, at).and_then(Value::as_object) else { continue };
        places.extend(
            object
                .keys()
                .filter(|key| declared.contains(key))
                .map(|key| (at, key.clone(), declared, object)),
        );
    }
    let (at, key, declared, object) = places.choose(rng)?;
    let styles: Vec<String> = [snake(key), kebab(key), camel(key), pascal(key), key.to_uppercase()]
        .into_iter()
        .filter(|other| {
            other != key
                && folded(other) == folded(key)
                && !object.contains_key(other)
                && !declared.contains(other)
        })
        .collect();
    let other = styles.choose(rng)?;
    // If two members differ only in spelling, either could be meant.
    let alike = declared.iter().filter(|declared| folded(declared) == folded(key)).count();
    let mut value = call.value.clone();
    let object = get_mut(&mut value, at)?.as_object_mut()?;
    let member = object.remove(key)?;
    object.insert(other.clone(), member);
    Some(Mutated { value, ambiguous: alike > 1 })
}

fn choice(
    rng: &mut StdRng,
    call: &Call,
    change: impl Fn(&mut StdRng, &str) -> Option<String>,
) -> Option<Mutated> {
    let places: Vec<(&Pointer, &Vec<String>, &str)> = call
        .sites
        .iter()
        .filter_map(|(at, site)| match site {
            Site::Choice { options } => Some((at, options, get(&call.value, at)?.as_str()?)),
            _ => None,
        })
        .filter(|(_, options, word)| options.iter().any(|option| option == word))
        .collect();
    let (at, options, word) = *places.choose(rng)?;
    let other = change(rng, word)?;
    if options.contains(&other) {
        return None;
    }
    let same_case =
        options.iter().filter(|option| option.to_lowercase() == other.to_lowercase()).count();
    let near = options.iter().filter(|option| distance(option, &other) == 1).count();
    // In a word of two letters, and in a number, one changed character is another meaning and not a
    // typo.
    let meaning = word.chars().count() < 3
        || other.chars().filter(char::is_ascii_digit).ne(word.chars().filter(char::is_ascii_digit));
    let ambiguous = if same_case > 0 { same_case > 1 } else { near != 1 || meaning };
    let mut value = call.value.clone();
    *get_mut(&mut value, at)? = json!(other);
    Some(Mutated { value, ambiguous })
}

fn scalar(
    rng: &mut StdRng,
    call: &Call,
    change: impl Fn(&Site, &Value) -> Option<String>,
) -> Option<Mutated> {
    let places: Vec<(&Pointer, String)> = call
        .sites
        .iter()
        .filter_map(|(at, site)| Some((at, change(site, get(&call.value, at)?)?)))
        .collect();
    let (at, text) = places.choose(rng)?;
    let mut value = call.value.clone();
    *get_mut(&mut value, at)? = json!(text);
    Some(Mutated { value, ambiguous: false })
}

fn single(rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    let one = |at: &Pointer| match get(&call.value, at)?.as_array()?.as_slice() {
        [item] => Some(item.clone()),
        _ => None,
    };
    let places: Vec<(&Pointer, Value)> = call
        .sites
        .iter()
        .filter(|(_, site)| matches!(site, Site::Array))
        .filter_map(|(at, _)| Some((at, one(at)?)))
        .collect();
    let (at, item) = places.choose(rng)?;
    let ambiguous = match item {
        // The text may itself be a list.
        Value::String(text) => text.is_empty() || text.contains([',', '[', '{', ';', '|', '\n']),
        // `{"items": […]}` is another mistake, so an object counts as one item only if its members
        // are those of an item.
        Value::Object(members) => {
            let item: Pointer = at.iter().cloned().chain(["0".to_owned()]).collect();
            let declared = call.sites.iter().find_map(|(at, site)| match site {
                Site::Object { declared, .. } if *at == item => Some(declared.clone()),
                _ => None,
            });
            members.is_empty()
                || declared.is_none_or(|declared| members.keys().any(|key| !declared.contains(key)))
        }
        Value::Null | Value::Array(_) => true,
        _ => false,
    };
    let mut value = call.value.clone();
    *get_mut(&mut value, at)? = item.clone();
    Some(Mutated { value, ambiguous })
}

fn wrapped(rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    let (_, Site::Object { declared, map, .. }) = call.sites.first()? else { return None };
    let wrapper = ["arguments", "input", "params", "args"].choose(rng)?;
    let members = call.value.as_object()?;
    if members.is_empty() || declared.iter().any(|declared| declared == wrapper) {
        return None;
    }
    Some(Mutated { value: json!({*wrapper: call.value}), ambiguous: *map })
}

fn moved(rng: &mut StdRng, call: &Call) -> Option<Mutated> {
    let (_, Site::Object { declared: outer, required, map: outer_map, .. }) = call.sites.first()?
    else {
        return None;
    };
    let root = call.value.as_object()?;
    let places: Vec<(&Pointer, &Vec<String>, bool, bool)> = call
        .sites
        .iter()
        .filter_map(|(at, site)| match site {
            Site::Object { declared, closed, map, .. }
                if at.len() == 1 && outer.contains(&at[0]) =>
            {
                Some((at, declared, *closed, *map))
            }
            _ => None,
        })
        .collect();
    let (at, declared, closed, map) = *places.choose(rng)?;
    let keys: Vec<&String> = root
        .keys()
        .filter(|key| **key != at[0] && !declared.contains(key) && outer.contains(key))
        .collect();
    let key = *keys.choose(rng)?;
    let mut value = call.value.clone();
    let member = value.as_object_mut()?.remove(key)?;
    get_mut(&mut value, at)?.as_object_mut()?.insert(key.clone(), member);
    // If the object allows any member, this one may be meant to be there.
    let fits_there = map || declared.is_empty();
    let alike = |declared: &String| folded(declared) == folded(key);
    let ambiguous = fits_there
        || *outer_map
        || (!closed && !required.contains(key))
        || declared.iter().any(alike);
    Some(Mutated { value, ambiguous })
}

fn get<'a>(value: &'a Value, at: &Pointer) -> Option<&'a Value> {
    at.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Object(members) => members.get(step),
        _ => None,
    })
}

fn get_mut<'a>(value: &'a mut Value, at: &Pointer) -> Option<&'a mut Value> {
    at.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        Value::Object(members) => members.get_mut(step),
        _ => None,
    })
}

fn words(key: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for c in key.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn snake(key: &str) -> String {
    words(key).join("_")
}

fn kebab(key: &str) -> String {
    words(key).join("-")
}

fn pascal(key: &str) -> String {
    words(key).iter().map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

fn camel(key: &str) -> String {
    let pascal = pascal(key);
    pascal.get(..1).map(|first| first.to_lowercase() + &pascal[1..]).unwrap_or_default()
}

fn folded(key: &str) -> String {
    words(key).concat()
}

fn flip_case(word: &str) -> Option<String> {
    let upper = word.to_uppercase();
    let other = if upper == word { word.to_lowercase() } else { upper };
    (other != word).then_some(other)
}

fn typo(rng: &mut StdRng, word: &str) -> Option<String> {
    let mut chars: Vec<char> = word.chars().collect();
    if chars.is_empty() {
        return None;
    }
    let at = rng.random_range(0..chars.len());
    let letter = char::from(b'a' + rng.random_range(0..26));
    match rng.random_range(0..3) {
        0 => chars.insert(at, letter),
        1 => {
            chars.remove(at);
        }
        _ => chars[at] = letter,
    }
    let other: String = chars.into_iter().collect();
    (other != word).then_some(other)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let cost = usize::from(a != *b);
            let next = (diagonal + cost).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
