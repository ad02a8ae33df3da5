//! Expands the placeholders of the common MCP clients in config values.

use std::collections::BTreeMap;

use super::Environment;

/// What placeholders may refer to.
pub(super) struct Placeholders<'a> {
    pub(super) environment: Environment<'a>,
    /// The folder of the project that the file belongs to: `${workspaceFolder}`.
    pub(super) workspace: &'a str,
    /// The `inputs` of VS Code: their defaults by id.
    pub(super) inputs: BTreeMap<String, Option<String>>,
    /// `$NAME` without braces is a placeholder too, as for Gemini CLI.
    pub(super) bare: bool,
}

impl Placeholders<'_> {
    /// Replaces every placeholder. The error is about the first invalid one.
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('$') {
            out.push_str(before);
            rest = if let Some(inner) = from.strip_prefix("{{") {
                let (name, after) = inner.split_once("}}").ok_or("\"${{\" has no \"}}\"")?;
                out.push_str(&self.continue_value(name.trim())?);
                after
            } else if let Some(inner) = from.strip_prefix('{') {
                let (name, after) =
                    inner.split_once('}').ok_or("\"${\" has no \"}\"; write ${NAME}")?;
                out.push_str(&self.value(name)?);
                after
            } else {
                let (name, after) = from.split_at(variable_length(from));
                if self.bare && !name.is_empty() {
                    out.push_str(&self.variable(name)?);
                    after
                } else {
                    out.push('$');
                    from
                }
            };
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, name: &str) -> Result<String, String> {
        if let Some((variable, default)) = name.split_once(":-") {
            let variable = variable.strip_prefix("env:").unwrap_or(variable);
            check_variable(variable)?;
            return Ok((self.environment)(variable).unwrap_or_else(|| default.to_owned()));
        }
        match name.split_once(':') {
            None => self.predefined(name).map_or_else(|| self.variable(name), Ok),
            Some(("env", variable)) => self.variable(variable),
            Some(("input", id)) => self.input(id),
            Some(("cmd", _)) => Err("${cmd:…} is not allowed, because it runs a shell from a \
                                     config file; put the value into an environment variable and \
                                     write ${NAME}"
                .into()),
            Some((kind, _)) => {
                Err(format!("${{{kind}:…}} is unknown; write ${{NAME}} or ${{env:NAME}}"))
            }
        }
    }

    /// The variables of VS Code and Cursor.
    fn predefined(&self, name: &str) -> Option<String> {
        match name {
            "workspaceFolder" => Some(self.workspace.to_owned()),
            "workspaceFolderBasename" => self.workspace.rsplit('/').next().map(str::to_owned),
            "userHome" => (self.environment)("HOME"),
            "pathSeparator" | "/" => Some("/".to_owned()),
            _ => None,
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        check_variable(name)?;
        (self.environment)(name)
            .ok_or_else(|| format!("${{{name}}} is not set; set the environment variable {name}"))
    }

    /// An editor would ask its user. A hub has nobody to ask.
    fn input(&self, id: &str) -> Result<String, String> {
        let name = variable_of_input(id);
        let default = self.inputs.get(id).cloned().flatten();
        (self.environment)(&name).or(default).ok_or_else(|| {
            format!(
                "${{input:{id}}} would ask you in an editor; set the environment variable {name} \
                 to the answer"
            )
        })
    }

    /// The placeholders of Continue: `${{ secrets.NAME }}` and `${{ inputs.NAME }}`.
    fn continue_value(&self, name: &str) -> Result<String, String> {
        match name.split_once('.') {
            Some(("secrets" | "inputs", variable)) => self.variable(variable),
            _ => Err(format!("${{{{ {name} }}}} is unknown; write ${{NAME}}")),
        }
    }
}

/// The environment variable that answers an input of VS Code.
fn variable_of_input(id: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    id.chars().map(upper).collect()
}

fn check_variable(name: &str) -> Result<(), String> {
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(())
    } else {
        Err(format!("${{{name}}} is not a variable; write ${{NAME}}"))
    }
}

/// How many bytes at the start are the name of a variable.
fn variable_length(text: &str) -> usize {
    let digit_first = text.bytes().next().is_some_and(|b| b.is_ascii_digit());
    if digit_first {
        return 0;
    }
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}
