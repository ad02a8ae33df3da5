//! The CEL expressions of access rules: over `caller.{sub, claims, groups, keyName}`, `tool.{server, name,
//! annotations}` and `view`; nothing else, no clock, and bounded.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value as Cel};
use serde_json::Value;

use super::Caller;
use crate::catalog::Tool;

/// Longest expression.
pub const MAX_EXPRESSION_BYTES: usize = 1024;
/// Brackets in brackets, and conditions in conditions. The parser takes stack for each, and stack that is out takes the
/// process down.
const MAX_NESTED: usize = 16;
/// Operations in operations. Answering takes stack for each, on the thread of a request.
const MAX_DEPTH: usize = 100;
const COMPILER_STACK: usize = 64 << 20;
/// A macro in a macro is a product of two lists; more would let one rule stop a hub.
const MAX_NESTED_MACROS: usize = 2;
/// Callers with more in their claims are not asked about: what a caller sends must not cost a second.
const MAX_CLAIMS_BYTES: usize = 32 << 10;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

const VARIABLES: [&str; 3] = ["caller", "tool", "view"];
const CALLER_FIELDS: [&str; 4] = ["sub", "claims", "groups", "keyName"];
const TOOL_FIELDS: [&str; 3] = ["server", "name", "annotations"];

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    depends_on: DependsOn,
}

/// What an answer may differ by, for one caller and view. In the order of how often it must be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DependsOn {
    /// Nothing else.
    Caller,
    /// The tool's server.
    Server,
    /// The tool.
    Tool,
}

impl Expression {
    /// Compiles it; `Err` says what is wrong and what to write instead.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(format!(
                "has {} bytes, at most {MAX_EXPRESSION_BYTES} are taken; split it into several rules",
                text.len()
            ));
        }
        if nesting(text) > MAX_NESTED {
            return Err(format!(
                "nests brackets or conditions more than {MAX_NESTED} deep; split it into several rules"
            ));
        }
        // The parser takes more stack for one bracket than a thread of a server has for ten of them.
        let thread = std::thread::Builder::new().stack_size(COMPILER_STACK);
        std::thread::scope(|scope| {
            let compiler = thread.spawn_scoped(scope, || Self::compiled(text));
            compiler
                .map_err(|error| format!("cannot be compiled: {error}"))?
                .join()
                .unwrap_or_else(|_| Err("is not CEL".into()))
        })
    }

    fn compiled(text: &str) -> Result<Self, String> {
        let program = ENVIRONMENT.compile(text).map_err(|errors| {
            // Of several errors the first is the cause; its first line has the place.
            let all = errors.to_string();
            let first = all
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("cannot be parsed")
                .trim()
                .to_owned();
            format!("is not CEL: {first}; write an expression such as \"admins\" in caller.groups")
        })?;
        let mut walk = Walk { depends_on: DependsOn::Caller, locals: Vec::new(), depth: 0 };
        walk.part(program.expression())?;
        Ok(Self { depends_on: walk.depends_on, program })
    }

    pub(super) fn depends_on(&self) -> DependsOn {
        self.depends_on
    }
}

/// At least how deep the text nests; signs in strings count too.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest.max(text.matches('?').count())
}

/// One caller's questions.
pub(super) struct Asked<'a> {
    /// `None`: the caller has more claims than are looked at.
    context: Option<Context<'a, 'a>>,
}

impl Asked<'_> {
    pub(super) fn of(caller: &Caller, view: Option<&str>) -> Self {
        let claims = Value::Object(caller.claims.clone());
        if claims.to_string().len() > MAX_CLAIMS_BYTES {
            return Self { context: None };
        }
        let fields: HashMap<String, Cel> = HashMap::from([
            ("sub".to_owned(), caller.sub.clone().into()),
            ("claims".to_owned(), value(&claims)),
            (
                "groups".to_owned(),
                Cel::from(caller.groups.iter().cloned().map(Cel::from).collect::<Vec<_>>()),
            ),
            ("keyName".to_owned(), caller.key_name.clone().into()),
        ]);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("caller", fields);
        context.add_variable_from_value("view", view.unwrap_or_default().to_owned());
        Self { context: Some(context) }
    }

    /// Whether the expression says so; an error and what is no boolean do not.
    pub(super) fn holds(&self, expression: &Expression, tool: Option<&Tool>) -> bool {
        let Some(context) = &self.context else { return false };
        let answer = match tool {
            None => expression.program.execute(context),
            Some(tool) => {
                let annotations: Value =
                    serde_json::from_str(tool.annotations()).unwrap_or_default();
                let annotations = if annotations.is_object() {
                    annotations
                } else {
                    Value::Object(serde_json::Map::new())
                };
                let fields: HashMap<String, Cel> = HashMap::from([
                    ("server".to_owned(), tool.server_name.to_string().into()),
                    ("name".to_owned(), tool.exposed.clone().into()),
                    ("annotations".to_owned(), value(&annotations)),
                ]);
                let mut scope = context.new_inner_scope();
                scope.add_variable_from_value("tool", fields);
                expression.program.execute(&scope)
            }
        };
        answer == Ok(Cel::Bool(true))
    }
}

/// Whole numbers are CEL's int whatever their sign: `claims.level == 3` must hold for a 3.
fn value(json: &Value) -> Cel {
    match json {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::String(text) => text.clone().into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Cel::Null, Cel::from),
        },
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(members) => members
            .iter()
            .map(|(key, member)| (key.clone(), value(member)))
            .collect::<HashMap<String, Cel>>()
            .into(),
    }
}

/// Looks at every part of an expression before any caller is asked about.
struct Walk {
    depends_on: DependsOn,
    /// Variables of the macros around this part.
    locals: Vec<String>,
    depth: usize,
}

impl Walk {
    fn part(&mut self, part: &IdedExpr) -> Result<(), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!(
                "has more than {MAX_DEPTH} operations in each other; split it into several rules"
            ));
        }
        self.depth += 1;
        self.expression(part)?;
        self.depth -= 1;
        Ok(())
    }

    fn expression(&mut self, part: &IdedExpr) -> Result<(), String> {
        match &part.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name, None),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) => self.variable(name, Some(&select.field)),
                _ => self.part(&select.operand),
            },
            Expr::Call(call) => {
                let target = call.target.iter().map(AsRef::as_ref);
                target.chain(&call.args).try_for_each(|part| self.part(part))
            }
            Expr::List(list) => list.elements.iter().try_for_each(|part| self.part(part)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(made) => made.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Comprehension(each) => {
                self.part(&each.iter_range)?;
                let before = self.locals.len();
                self.locals.extend([each.iter_var.clone(), each.accu_var.clone()]);
                self.locals.extend(each.iter_var2.clone());
                let nested = self.locals.iter().filter(|name| **name == each.accu_var).count();
                if nested > MAX_NESTED_MACROS {
                    return Err(format!(
                        "nests macros more than {MAX_NESTED_MACROS} deep; write it with fewer"
                    ));
                }
                let inside = [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
                inside.into_iter().try_for_each(|part| self.part(part))?;
                self.locals.truncate(before);
                Ok(())
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.part(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.part(&entry.key)?;
                self.part(&entry.value)
            }
        }
    }

    fn variable(&mut self, name: &str, field: Option<&str>) -> Result<(), String> {
        if self.locals.iter().any(|local| local == name) {
            return Ok(());
        }
        let fields: &[&str] = match name {
            "caller" => &CALLER_FIELDS,
            "tool" => &TOOL_FIELDS,
            "view" => &[],
            _ => {
                return Err(format!(
                    "uses \"{name}\", which is not there; there are {}",
                    VARIABLES.join(", ")
                ));
            }
        };
        if let Some(field) = field.filter(|field| !fields.contains(field)) {
            let there = if fields.is_empty() {
                "it is a text".to_owned()
            } else {
                format!("there are {}", fields.join(", "))
            };
            return Err(format!("uses {name}.{field}, which is not there; {there}"));
        }
        let depends_on = match (name, field) {
            ("tool", Some("server")) => DependsOn::Server,
            ("tool", _) => DependsOn::Tool,
            _ => DependsOn::Caller,
        };
        self.depends_on = self.depends_on.max(depends_on);
        Ok(())
    }
}
