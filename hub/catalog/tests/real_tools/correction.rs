//! Most mistakes of models are corrected, and none is corrected wrongly. Each correction is
//! compared with the valid call that the mistake was made in.

use std::fmt::Write as _;

use mcphub_hub_catalog::arguments::schema::Schema;
use mcphub_hub_catalog::arguments::{Validation, ValidationOptions, validate};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::calls::{Call, call};
use crate::data;
use crate::mutations::{self, KINDS};

const SEED: u64 = 4;
const RULES: ValidationOptions = ValidationOptions { validate: true, correct: true };

#[derive(Default, Clone, Copy)]
struct Count {
    made: usize,
    valid: usize,
    ambiguous: usize,
    guessed: usize,
    clear: usize,
    repaired: usize,
    wrong: usize,
}

#[derive(Default)]
struct Report {
    servers: usize,
    tools: usize,
    without: usize,
    unusable: usize,
    calls: usize,
    kinds: [Count; KINDS.len()],
}

#[test]
fn mistakes_in_calls_of_real_tools_are_repaired_and_none_wrongly() {
    let Some(folder) = data::folder() else { return };
    let mut report = Report::default();
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut examples = Vec::new();
    for server in data::servers(&folder) {
        report.servers += 1;
        for tool in &server.tools {
            report.tools += 1;
            measure(&mut rng, &tool["inputSchema"], &mut report, &mut examples);
        }
    }
    let table = report.table();
    println!("{table}");
    for example in examples.iter().take(40) {
        println!("{example}");
    }
    if let Some(file) = std::env::var_os("MCPHUB_REPORT") {
        std::fs::write(file, &table).unwrap();
    }
    let sum = report.sum();
    assert_eq!(sum.wrong, 0, "a repair that changes what was meant is worse than an error");
    assert!(sum.repaired * 100 >= sum.clear * 95, "{} of {}", sum.repaired, sum.clear);
}

fn measure(rng: &mut StdRng, definition: &Value, report: &mut Report, examples: &mut Vec<String>) {
    if definition.is_null() {
        report.without += 1;
        return;
    }
    let Ok(schema) = Schema::compile(&definition.to_string()) else {
        report.unusable += 1;
        return;
    };
    let Some(original) =
        (0..4).find_map(|_| call(rng, definition).filter(|call| schema.accepts(&call.value)))
    else {
        return;
    };
    report.calls += 1;
    let text = original.value.to_string();
    assert!(matches!(validate(&schema, Some(&text), RULES), Validation::Valid), "{text}");
    for (kind, count) in report.kinds.iter_mut().enumerate() {
        let Some(mutated) = mutations::mutated(kind, rng, &original) else { continue };
        let name = definition["title"].as_str().unwrap_or_default();
        if let Some(line) = count.add(&schema, &original, &mutated) {
            examples.push(format!("{} {name}: {line}", KINDS[kind]));
        }
    }
}

impl Count {
    /// Counts one mistake. Returns a line about it if it was not corrected as it should be.
    fn add(
        &mut self,
        schema: &Schema,
        original: &Call,
        mutated: &mutations::Mutated,
    ) -> Option<String> {
        self.made += 1;
        let text = mutated.value.to_string();
        let verdict = validate(schema, Some(&text), RULES);
        if schema.accepts(&mutated.value) {
            self.valid += 1;
            assert!(matches!(verdict, Validation::Valid), "a valid call was touched: {text}");
            return None;
        }
        let repaired = match &verdict {
            Validation::Corrected { arguments, .. } => {
                Some(serde_json::from_str::<Value>(arguments).unwrap())
            }
            _ => None,
        };
        let right = repaired.as_ref().is_some_and(|repaired| *repaired == original.value);
        self.wrong += usize::from(repaired.is_some() && !right);
        if mutated.ambiguous {
            self.ambiguous += 1;
            self.guessed += usize::from(right);
        } else {
            self.clear += 1;
            self.repaired += usize::from(right);
        }
        let bad = (repaired.is_some() || !mutated.ambiguous) && !right;
        bad.then(|| {
            format!(
                "{} became {verdict:?}, was {}",
                short(&text),
                short(&original.value.to_string())
            )
        })
    }
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}

impl Report {
    fn sum(&self) -> Count {
        self.kinds.iter().fold(Count::default(), |sum, kind| Count {
            made: sum.made + kind.made,
            valid: sum.valid + kind.valid,
            ambiguous: sum.ambiguous + kind.ambiguous,
            guessed: sum.guessed + kind.guessed,
            clear: sum.clear + kind.clear,
            repaired: sum.repaired + kind.repaired,
            wrong: sum.wrong + kind.wrong,
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn table(&self) -> String {
        let mut out = String::from("# Correction of arguments, measured\n\n");
        let _ = writeln!(
            out,
            "`make bench-correction` on the definitions of {} real servers with {} tools: a valid \
             call of each tool by chance (seed {SEED}; {} calls; {} tools have no schema, that of \
             {} cannot be used, the rest needs more than chance), and in each every kind of \
             mistake that it has a place for. The measure is the call before the mistake: \
             *repaired* is that call again, *wrong* any other.\n",
            self.servers, self.tools, self.calls, self.without, self.unusable
        );
        out.push_str(
            "| mistake | calls | still valid | ambiguous | (of them as before) | clear | repaired \
             | | wrong |\n",
        );
        out.push_str("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        let total = ("**all**", self.sum());
        for (kind, count) in KINDS.into_iter().zip(self.kinds).chain([total]) {
            let Count { made, valid, ambiguous, guessed, clear, repaired, wrong } = count;
            let share = if clear == 0 {
                "-".into()
            } else {
                format!("{:.1} %", repaired as f64 * 100.0 / clear as f64)
            };
            let _ = writeln!(
                out,
                "| {kind} | {made} | {valid} | {ambiguous} | {guessed} | {clear} | {repaired} | \
                 {share} | {wrong} |"
            );
        }
        out.push_str(
            "\n*Still valid*: the schema allows keys that it does not name, so the call is not \
             touched. *Ambiguous* by the generator's own rules: two keys or options fit, a single \
             text may be a list in itself, a digit or a letter of a short word was changed, or a \
             moved member may belong where it is.\n",
        );
        out
    }
}
