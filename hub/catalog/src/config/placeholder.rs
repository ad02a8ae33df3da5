//! Expands `${VAR}` and `${env:VAR}` in config values.

use super::Environment;

/// Replaces every placeholder. The error is about the first invalid one.
pub(super) fn expand(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        out.push_str(before);
        let (name, after) = from.split_once('}').ok_or("\"${\" has no \"}\"; write ${NAME}")?;
        out.push_str(&value(name, environment)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn value(name: &str, environment: Environment<'_>) -> Result<String, String> {
    let variable = match name.split_once(':') {
        None => name,
        Some(("env", variable)) => variable,
        Some(("cmd", _)) => {
            return Err(
                "${cmd:…} is not allowed, because it runs a shell from a config file; put the \
                        value into an environment variable and write ${NAME}"
                    .into(),
            );
        }
        Some(("input", _)) => {
            return Err(
                "${input:…} works only in an editor; write ${NAME} and set that environment \
                        variable"
                    .into(),
            );
        }
        Some((kind, _)) => {
            return Err(format!("${{{kind}:…}} is unknown; write ${{NAME}} or ${{env:NAME}}"));
        }
    };
    if variable.is_empty() || !variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(format!("${{{name}}} is not a variable; write ${{NAME}}"));
    }
    environment(variable)
        .ok_or_else(|| format!("${{{name}}} is not set; set the environment variable {variable}"))
}
