//! The CEL expressions of access rules. They use `caller.{sub, claims, groups, keyName}`,
//! `tool.{server, name, annotations}` and `view`, and nothing else. There is no clock, and their
//! cost is bounded.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::{Context, Env, Program, Value as Cel};
use serde_json::Value;

use crate::catalog::Entry;
use crate::principal::Principal;

pub const MAX_EXPRESSION_BYTES: usize = 1024;
/// Depth of nested brackets and conditions. The parser recurses for each, and a stack overflow
/// aborts the process.
const MAX_NESTED: usize = 16;
/// Depth of nested operations. The evaluation recurses for each, on the thread of a request.
const MAX_DEPTH: usize = 100;
const COMPILER_STACK: usize = 64 << 20;
/// Depth of nested macros. Two are a product of two lists; with more, one rule could stop a hub.
const MAX_NESTED_MACROS: usize = 2;
/// No expression is true for a caller with larger claims. Otherwise one caller's token could cost
/// seconds.
const MAX_CLAIMS_BYTES: usize = 32 << 10;

static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

const VARIABLES: [&str; 3] = ["caller", "tool", "view"];
const CALLER_FIELDS: [&str; 4] = ["sub", "claims", "groups", "keyName"];
const TOOL_FIELDS: [&str; 3] = ["server", "name", "annotations"];

#[derive(Debug)]
pub struct Expression {
    program: Program,
    depends_on: DependsOn,
}

/// What the value of an expression depends on besides caller and view. A later variant needs more
/// evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DependsOn {
    /// On nothing else: one evaluation.
    Caller,
    /// On the server: one evaluation per server.
    Server,
    /// On the tool: one evaluation per tool.
    Tool,
}

impl Expression {
    /// `Err` says what is wrong and what to write instead.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(format!(
                "has {} bytes, but at most {MAX_EXPRESSION_BYTES} are allowed; split it into \
                 several rules",
                text.len()
            ));
        }
        if nesting(text) > MAX_NESTED {
            return Err(format!(
                "nests brackets or conditions more than {MAX_NESTED} deep; split it into several \
                 rules"
            ));
        }
        // The parser needs so much stack per bracket that a server thread overflows at about ten of
        // them.
        let thread = std::thread::Builder::new().stack_size(COMPILER_STACK);
        std::thread::scope(|scope| {
            let compiler = thread.spawn_scoped(scope, || Self::compile_here(text));
            compiler
                .map_err(|error| format!("cannot be compiled: {error}"))?
                .join()
                .unwrap_or_else(|_| Err("is not CEL".into()))
        })
    }

    fn compile_here(text: &str) -> Result<Self, String> {
        let program = ENVIRONMENT.compile(text).map_err(|errors| {
            // The first of several errors is the cause, and its first line has the position.
            let all = errors.to_string();
            let first = all
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("cannot be parsed")
                .trim()
                .to_owned();
            format!("is not CEL: {first}; write an expression such as \"admins\" in caller.groups")
        })?;
        let mut check = Check { depends_on: DependsOn::Caller, locals: Vec::new(), depth: 0 };
        check.part(program.expression())?;
        Ok(Self { depends_on: check.depends_on, program })
    }

    pub(super) fn depends_on(&self) -> DependsOn {
        self.depends_on
    }
}

/// The nesting depth of a text, or more: brackets inside strings count too.
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

/// Evaluates expressions for one principal and view.
pub(super) struct Evaluation<'a> {
    /// `None` if the claims are larger than [`MAX_CLAIMS_BYTES`].
    context: Option<Context<'a, 'a>>,
}

impl Evaluation<'_> {
    pub(super) fn new(principal: &Principal, view: Option<&str>) -> Self {
        let claims = Value::Object(principal.claims.clone());
        if claims.to_string().len() > MAX_CLAIMS_BYTES {
            return Self { context: None };
        }
        let fields: HashMap<String, Cel> = HashMap::from([
            ("sub".to_owned(), principal.sub.clone().into()),
            ("claims".to_owned(), value(&claims)),
            (
                "groups".to_owned(),
                Cel::from(principal.groups.iter().cloned().map(Cel::from).collect::<Vec<_>>()),
            ),
            ("keyName".to_owned(), principal.key_name.clone().into()),
        ]);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.add_variable_from_value("caller", fields);
        context.add_variable_from_value("view", view.unwrap_or_default().to_owned());
        Self { context: Some(context) }
    }

    /// Whether the value is `true`. An error is not, and neither is another type.
    pub(super) fn is_true<D>(&self, expression: &Expression, entry: Option<&Entry<D>>) -> bool {
        let Some(context) = &self.context else { return false };
        let result = match entry {
            None => expression.program.execute(context),
            Some(entry) => {
                let annotations: Value =
                    serde_json::from_str(entry.annotations()).unwrap_or_default();
                let annotations = if annotations.is_object() {
                    annotations
                } else {
                    Value::Object(serde_json::Map::new())
                };
                let fields: HashMap<String, Cel> = HashMap::from([
                    ("server".to_owned(), entry.server_name.to_string().into()),
                    ("name".to_owned(), entry.exposed.clone().into()),
                    ("annotations".to_owned(), value(&annotations)),
                ]);
                let mut scope = context.new_inner_scope();
                scope.add_variable_from_value("tool", fields);
                expression.program.execute(&scope)
            }
        };
        result == Ok(Cel::Bool(true))
    }
}

/// The CEL value of a JSON value. All whole numbers become `int`, so that `claims.level == 3` is
/// true for 3.
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

/// Checks every part of an expression when it is compiled, and finds out what its value depends on.
struct Check {
    depends_on: DependsOn,
    /// Variables of the macros that enclose this part.
    locals: Vec<String>,
    depth: usize,
}

impl Check {
    fn part(&mut self, part: &IdedExpr) -> Result<(), String> {
        if self.depth == MAX_DEPTH {
            return Err(format!(
                "nests more than {MAX_DEPTH} operations; split it into several rules"
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
                    "uses \"{name}\", which does not exist; use {}",
                    VARIABLES.join(", ")
                ));
            }
        };
        if let Some(field) = field.filter(|field| !fields.contains(field)) {
            let hint = if fields.is_empty() {
                "it is a string".to_owned()
            } else {
                format!("use {}", fields.join(", "))
            };
            return Err(format!("uses {name}.{field}, which does not exist; {hint}"));
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
