//! The language model in a running hub, against servers that speak the providers' formats: it
//! chooses tools and their categories. Whatever it answers, no other tool appears, and while it
//! fails the hub still serves everybody.

mod categories;
mod choosing;

use mcphub_hub_wire::config::Provider;
use serde_json::{Value, json};

use crate::provider::{KEY, ScriptedProvider};

/// The config of a language model at this address, without retries and with short pauses.
fn model(provider: Provider, url: &str) -> Value {
    json!({
        "provider": provider, "model": "m-1", "baseUrl": url, "apiKey": {"value": KEY},
        "timeoutMs": 5_000,
        "retry": {"maxRetries": 0},
        "circuitBreaker": {"failureThreshold": 100, "resetTimeoutMs": 50},
    })
}

/// The ids that a question offers to the model.
fn offered(question: &Value) -> Vec<&str> {
    question["tools"].as_array().unwrap().iter().map(|tool| tool["id"].as_str().unwrap()).collect()
}

/// The questions that a provider was asked.
fn questions(provider: &ScriptedProvider) -> Vec<Value> {
    provider.requests().iter().map(crate::provider::question).collect()
}
