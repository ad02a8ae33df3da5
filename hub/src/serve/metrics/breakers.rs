//! The state of the circuit breaker of each server.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use prometheus::{IntGauge, Registry};

use crate::circuit_breaker;

/// The label of the breaker of the language model, which is not ours.
const LANGUAGE_MODEL: &str = "llm";

pub struct Breakers {
    registry: Registry,
    gauges: Mutex<HashMap<String, IntGauge>>,
}

impl Breakers {
    pub(super) fn new(registry: &Registry) -> Self {
        Self { registry: registry.clone(), gauges: Mutex::default() }
    }

    /// The gauge of a server. A server that is called like the label of the language model has one
    /// that is not exported.
    pub fn gauge(&self, server: &str) -> prometheus::Result<IntGauge> {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gauge) = gauges.get(server) {
            return Ok(gauge.clone());
        }
        let gauge = circuit_breaker::gauge(server)?;
        if server != LANGUAGE_MODEL {
            self.registry.register(Box::new(gauge.clone()))?;
        }
        gauges.insert(server.to_owned(), gauge.clone());
        Ok(gauge)
    }

    /// Removes the gauges of all other servers.
    pub fn retain(&self, servers: &HashSet<&str>) {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.retain(|server, gauge| {
            let keep = servers.contains(server.as_str());
            if !keep {
                self.registry.unregister(Box::new(gauge.clone())).ok();
            }
            keep
        });
    }
}
