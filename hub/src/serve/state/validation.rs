//! What is done with the arguments of a call before its server sees them: validated, corrected, refused, each where its
//! flag is on. Decisions are in `mcphub_hub_catalog::arguments`; here are the compiled schemas and the counters.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mcphub_hub_catalog::arguments::correction::{Correction, CorrectionKind};
use mcphub_hub_catalog::arguments::schema::Schema;
use mcphub_hub_catalog::arguments::schema_cache::{self, CompiledSchema, SchemaCache};
use mcphub_hub_catalog::arguments::{
    self, OUTCOMES, UNUSABLE, Validation, ValidationOptions, advice, error,
};
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_protocol::json_splice::Edits;
use mcphub_hub_protocol::message::{Params, Request};
use mcphub_hub_wire::flags::{
    AUTO_CORRECTION, ENHANCED_ERROR_MESSAGES, ENUM_DESCRIPTIONS_VALIDATION,
};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::serve::state::hub::Hub;

/// Most compiled schemas in memory. One takes tens of kilobytes, so this is less than what search takes.
const MAX_SCHEMAS: usize = 1_000;

/// Judges the arguments of calls.
pub struct Judging {
    schemas: Mutex<SchemaCache>,
    outcomes: HashMap<&'static str, IntCounter>,
    corrections: HashMap<&'static str, IntCounter>,
}

/// What was found.
pub enum Judged {
    /// They go on as they came.
    Passed,
    /// These go on instead.
    Corrected {
        /// As JSON.
        arguments: String,
        /// What the caller is told.
        corrections: Vec<Correction>,
    },
    /// They do not go on. The message is for the model that called.
    Refused(String),
}

impl Judging {
    /// Every counter at 0.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, label: &str, values: &[&'static str]| {
            let opts = Opts::new(format!("mcp_hub_{name}"), help);
            let all = IntCounterVec::new(opts, &[label])?;
            registry.register(Box::new(all.clone()))?;
            Ok::<_, prometheus::Error>(
                values.iter().map(|value| (*value, all.with_label_values(&[value]))).collect(),
            )
        };
        let kinds = CorrectionKind::ALL.map(CorrectionKind::label);
        Ok(Self {
            schemas: Mutex::new(SchemaCache::new(MAX_SCHEMAS)),
            outcomes: counters(
                "validation_total",
                "Calls validated against the tool's schema",
                "outcome",
                &OUTCOMES,
            )?,
            corrections: counters("corrections_total", "Corrections of arguments", "kind", &kinds)?,
        })
    }

    /// Counts a correction that was made elsewhere.
    pub fn corrected(&self, correction: &Correction) {
        count(&self.corrections, correction.kind.label());
    }

    fn schema(&self, tool: &Tool) -> CompiledSchema {
        let text = tool.input_schema();
        let digest = schema_cache::digest(text);
        if let Some(known) = self.lock().get(&digest) {
            return known;
        }
        // Outside the lock: compiling a large schema takes milliseconds, and every call waits for the lock.
        let compiled = CompiledSchema::new(Schema::compile(text));
        if let Err(error) = &*compiled {
            tracing::warn!(server = %tool.server_name, tool = %tool.own, %error, "calls are not validated: its inputSchema cannot be used");
        }
        self.lock().insert(digest, CompiledSchema::clone(&compiled));
        compiled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SchemaCache> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hub {
    /// Judges the arguments of a call of this tool, as the flags say.
    pub fn judge(&self, tool: &Tool, given: Option<&str>) -> Judged {
        let options = ValidationOptions {
            validate: self.flag(ENUM_DESCRIPTIONS_VALIDATION),
            correct: self.flag(AUTO_CORRECTION),
        };
        if options == ValidationOptions::default() {
            return Judged::Passed;
        }
        let compiled = self.judging.schema(tool);
        let Ok(schema) = &*compiled else {
            count(&self.judging.outcomes, UNUSABLE);
            return Judged::Passed;
        };
        let validation = arguments::validate(schema, given, options);
        count(&self.judging.outcomes, validation.outcome());
        match validation {
            Validation::Corrected { arguments, corrections } => {
                for correction in &corrections {
                    self.judging.corrected(correction);
                }
                Judged::Corrected { arguments, corrections }
            }
            Validation::Invalid(errors) if options.validate => {
                Judged::Refused(if self.flag(ENHANCED_ERROR_MESSAGES) {
                    advice::message(&tool.exposed, schema, given, &errors)
                } else {
                    error::message(&tool.exposed, &errors)
                })
            }
            Validation::Valid | Validation::Invalid(_) | Validation::Unusable => Judged::Passed,
        }
    }
}

/// The same call with other arguments. Other members of the parameters stay as they are.
pub fn corrected(request: &Request<'_>, arguments: &str) -> String {
    let Params { text, arguments: given, .. } = &request.params;
    let params = match (text, given) {
        (Some(text), Some(given)) => Edits::new(text).replace(given, arguments).finish(),
        _ => format!(r#"{{"arguments":{arguments}}}"#),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{params}}}"#, request.id)
}

fn count(counters: &HashMap<&'static str, IntCounter>, label: &str) {
    if let Some(counter) = counters.get(label) {
        counter.inc();
    }
}
