//! The tables of accepted and refused resources, and how a row is sent to the API server.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use kube::Client;
use mcphub_crds::crd::all_rules;
use mcphub_crds::rules::ValidationRule;
use serde::Deserialize;
use serde_json::{Value, json};

const REFUSED: &[&str] = &[
    include_str!("api_resource/refused/hub.yaml"),
    include_str!("api_resource/refused/servers.yaml"),
    include_str!("api_resource/refused/filtering.yaml"),
    include_str!("api_resource/refused/rollout.yaml"),
    include_str!("api_resource/refused/not_yet.yaml"),
];

/// One resource of a table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// What is special about it. Empty if the message of the rule says that already.
    #[serde(default)]
    state: String,
    /// The name of the resource, if it is not that of the base.
    #[serde(default)]
    name: Option<String>,
    /// Merged into the spec of the base.
    #[serde(default)]
    pub(crate) spec: Value,
    /// A part of the message of the one rule that refuses it.
    #[serde(default)]
    says: Option<String>,
    /// A part of the answer, if the message of the rule quotes the value.
    #[serde(default)]
    answer: Option<String>,
    /// The field that the schema itself refuses, with a message of the API server.
    #[serde(default)]
    pub(crate) schema: Option<String>,
}

/// The answer of the API server.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The object that it would store.
    Accepted(Value),
    /// The reason why it would not.
    Refused(String),
}

impl Row {
    /// A row with only a name.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }

    pub(crate) fn title(&self) -> String {
        if self.state.is_empty() { self.says().into() } else { self.state.clone() }
    }

    pub(crate) fn says(&self) -> &str {
        self.says.as_deref().unwrap_or_default()
    }

    /// The base, with this row merged into it.
    pub(crate) fn resource(&self) -> Value {
        let base: BTreeMap<String, Value> =
            serde_yaml_ng::from_str(include_str!("api_resource/base.yaml")).unwrap_or_default();
        let mut resource = json!(base);
        if let Some(name) = &self.name {
            resource["metadata"]["name"] = json!(name);
        }
        if !self.spec.is_null() {
            merge(&mut resource["spec"], &self.spec);
        }
        resource
    }

    /// The one rule whose message this row quotes.
    pub(crate) fn rule(&self) -> Option<ValidationRule> {
        let mut rules = all_rules().into_iter().filter(|rule| rule.message.contains(self.says()));
        rules.next().filter(|_| self.says.is_some() && rules.next().is_none())
    }

    /// What is wrong with the answer to this row of a table of refused resources.
    pub(crate) fn mistake(&self, answer: &Answer) -> Option<String> {
        let expected = match (&self.schema, self.rule()) {
            (Some(field), _) => field.clone(),
            (None, Some(rule)) => match (&self.answer, rule.message_expression) {
                (Some(answer), _) => answer.clone(),
                (None, Some(_)) => self.says().into(),
                (None, None) => rule.message,
            },
            (None, None) => {
                return Some(format!(
                    "\"{}\" is not in the message of exactly one rule",
                    self.says()
                ));
            }
        };
        match answer {
            Answer::Accepted(_) => Some(format!("accepted, not refused with \"{expected}\"")),
            Answer::Refused(message) if !message.contains(&expected) => {
                Some(format!("no \"{expected}\" in: {message}"))
            }
            Answer::Refused(_) => None,
        }
    }
}

pub(crate) fn refused() -> Result<Vec<Row>> {
    let tables = REFUSED.iter().map(|text| {
        serde_yaml_ng::from_str::<Vec<Row>>(text)
            .context("failed to parse a table of refused resources")
    });
    Ok(tables.collect::<Result<Vec<_>>>()?.concat())
}

pub(crate) fn accepted() -> Result<Vec<Row>> {
    serde_yaml_ng::from_str(include_str!("api_resource/accepted.yaml"))
        .context("failed to parse the table of accepted resources")
}

/// Sends a row in a dry run.
pub(crate) async fn create(client: &Client, row: &Row) -> Result<Answer> {
    post(client, &row.resource()).await
}

/// Sends a resource in a dry run, as `kubectl create --dry-run=server` does.
pub(crate) async fn post(client: &Client, resource: &Value) -> Result<Answer> {
    let path =
        "/apis/mcphub.dev/v1alpha1/namespaces/default/mcphubs?dryRun=All&fieldValidation=Strict";
    let body = serde_json::to_vec(resource)?;
    let request =
        http::Request::post(path).header("content-type", "application/json").body(body)?;
    match client.request::<Value>(request).await {
        Ok(stored) => Ok(Answer::Accepted(stored)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
            Ok(Answer::Refused(status.message.clone()))
        }
        Err(error) => Err(error.into()),
    }
}

/// RFC 7386, without the removal of keys.
fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
