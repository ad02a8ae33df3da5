//! Validates and corrects the arguments of calls before a server sees them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcphub_hub_catalog::arguments::correction::{Correction, CorrectionKind};
use mcphub_hub_catalog::arguments::schema::Schema;
use mcphub_hub_catalog::arguments::schema_cache::{self, CompiledSchema, SchemaCache};
use mcphub_hub_catalog::arguments::{
    self, OUTCOMES, UNUSABLE, Validation, ValidationOptions, advice, error,
};
use mcphub_hub_catalog::catalog::Tool;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// How many compiled schemas are cached. One takes tens of kilobytes.
const MAX_SCHEMAS: usize = 1_000;

/// Compiled schemas, and counters of what validation found.
pub struct Validator {
    schemas: Mutex<SchemaCache>,
    outcomes: HashMap<&'static str, IntCounter>,
    corrections: HashMap<&'static str, IntCounter>,
}

/// The result of validating the arguments of a call.
pub enum Validated {
    /// The arguments go to the server as they are.
    Unchanged,
    /// Other arguments go to the server.
    Corrected {
        /// As JSON text.
        arguments: String,
        /// The corrections, to be reported to the caller.
        corrections: Vec<Correction>,
    },
    /// The call is refused, with this message for the model that called.
    Refused(String),
}

impl Validator {
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
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
                "Calls whose arguments were validated",
                "outcome",
                &OUTCOMES,
            )?,
            corrections: counters("corrections_total", "Corrections of arguments", "kind", &kinds)?,
        })
    }

    /// Validates the arguments of a call of this tool. With `with_advice`, a refusal also says what
    /// would be valid.
    pub fn validate(
        &self,
        tool: &Tool,
        arguments: Option<&str>,
        options: ValidationOptions,
        with_advice: bool,
    ) -> Validated {
        if options == ValidationOptions::default() {
            return Validated::Unchanged;
        }
        let compiled = self.schema(tool);
        let Ok(schema) = &*compiled else {
            count(&self.outcomes, UNUSABLE);
            return Validated::Unchanged;
        };
        let validation = arguments::validate(schema, arguments, options);
        count(&self.outcomes, validation.outcome());
        match validation {
            Validation::Corrected { arguments, corrections } => {
                for correction in &corrections {
                    self.count_correction(correction);
                }
                Validated::Corrected { arguments, corrections }
            }
            Validation::Invalid(errors) if options.validate => Validated::Refused(if with_advice {
                advice::message(&tool.exposed, schema, arguments, &errors)
            } else {
                error::message(&tool.exposed, &errors)
            }),
            Validation::Valid | Validation::Invalid(_) | Validation::Unusable => {
                Validated::Unchanged
            }
        }
    }

    /// Counts a correction, also one that was made elsewhere.
    pub fn count_correction(&self, correction: &Correction) {
        count(&self.corrections, correction.kind.label());
    }

    fn schema(&self, tool: &Tool) -> CompiledSchema {
        let text = tool.input_schema();
        let digest = schema_cache::digest(text);
        if let Some(known) = self.lock().get(&digest) {
            return known;
        }
        // Outside the lock: compiling a large schema takes milliseconds, and every call waits for
        // the lock.
        let compiled = CompiledSchema::new(Schema::compile(text));
        if let Err(error) = &*compiled {
            tracing::warn!(
                server = %tool.server_name,
                tool = %tool.own,
                %error,
                "inputSchema cannot be used, calls of this tool are not validated"
            );
        }
        self.lock().insert(digest, CompiledSchema::clone(&compiled));
        compiled
    }

    fn lock(&self) -> MutexGuard<'_, SchemaCache> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(counters: &HashMap<&'static str, IntCounter>, label: &str) {
    if let Some(counter) = counters.get(label) {
        counter.inc();
    }
}
