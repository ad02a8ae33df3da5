//! What clients see, and who may see it: `spec.filtering` and `spec.access`.

use mcphub_crds::McpHubSpec;
use mcphub_crds::filtering::{
    DefaultExposure as SpecExposure, FilterMode as SpecMode, Filtering as SpecFiltering,
    HybridMatch as SpecMatch, PromptBased as SpecPromptBased, SelectorBackend,
};
use mcphub_crds::llm::{Llm as SpecLlm, LlmProvider};
use mcphub_hub_wire::config::{
    AccessRule, Backend, Cache, Categories, CircuitBreaker, DefaultExposure, FilterMode, Filtering,
    GoldenQuestion, HeaderValue, HybridMatch, Llm, PromptBased, Provider, Retry, ServerFilter,
    ToolBudget, View,
};

use super::{file, millis};

/// Default timeout of a request to a language model.
const LLM_TIMEOUT_MS: u64 = 5_000;
/// Default of the concurrent requests to a language model.
const LLM_CONCURRENT: u32 = 5;

pub(super) fn filtering(spec: &McpHubSpec) -> Filtering {
    let Some(written) = &spec.filtering else { return Filtering::default() };
    let SpecFiltering {
        mode: written_mode,
        servers,
        categories,
        hybrid,
        fixed,
        prompt_based: written_prompt_based,
        views,
        tool_budget,
        selector,
        golden_questions,
        llm: written_llm,
    } = written.clone();
    let (servers, categories) = (servers.unwrap_or_default(), categories.unwrap_or_default());
    let view = |view: mcphub_crds::filtering::View| View {
        name: view.name,
        servers: view.servers,
        categories: view.categories,
        tools: view.tools,
    };
    let golden = |question: mcphub_crds::filtering::GoldenQuestion| GoldenQuestion {
        query: question.query,
        tools: question.tools,
    };
    Filtering {
        mode: mode(written_mode.unwrap_or(SpecMode::None)),
        servers: ServerFilter { allow: servers.allow, deny: servers.deny },
        static_tools: fixed.unwrap_or_default().tools,
        categories: Categories { expose: categories.expose, custom: categories.custom },
        hybrid: match hybrid.and_then(|hybrid| hybrid.matching) {
            Some(SpecMatch::All) => HybridMatch::All,
            Some(SpecMatch::Any) | None => HybridMatch::Any,
        },
        prompt_based: prompt_based(written_prompt_based),
        views: views.into_iter().map(view).collect(),
        tool_budget: tool_budget.map(|budget| {
            let default = ToolBudget::default();
            ToolBudget {
                max_tools: budget.max_tools.unwrap_or(default.max_tools),
                max_tokens: budget.max_tokens.unwrap_or(default.max_tokens),
            }
        }),
        selector: match selector.and_then(|selector| selector.backend) {
            Some(SelectorBackend::Llm) => Backend::Llm,
            Some(SelectorBackend::Embedded) | None => Backend::Embedded,
        },
        golden_questions: golden_questions.into_iter().map(golden).collect(),
        llm: written_llm.map(llm),
    }
}

pub(super) fn access(spec: &McpHubSpec) -> Vec<AccessRule> {
    let rules = spec.access.iter().cloned();
    rules
        .map(|mcphub_crds::auth::AccessRule { when, servers, tools }| AccessRule {
            when,
            servers,
            tools,
        })
        .collect()
}

fn mode(mode: SpecMode) -> FilterMode {
    match mode {
        SpecMode::None => FilterMode::None,
        SpecMode::Static => FilterMode::Static,
        SpecMode::ServerAllowlist => FilterMode::ServerAllowlist,
        SpecMode::Category => FilterMode::Category,
        SpecMode::Hybrid => FilterMode::Hybrid,
        SpecMode::PromptBased => FilterMode::PromptBased,
    }
}

fn prompt_based(written: Option<SpecPromptBased>) -> PromptBased {
    let SpecPromptBased {
        default_exposure,
        meta_tools,
        session_isolation,
        max_tools,
        min_score,
        memory,
    } = written.unwrap_or_default();
    let default = PromptBased::default();
    PromptBased {
        default_exposure: match default_exposure {
            Some(SpecExposure::Zero) => DefaultExposure::Zero,
            Some(SpecExposure::MetaOnly) => DefaultExposure::MetaOnly,
            Some(SpecExposure::Minimal) => DefaultExposure::Minimal,
            Some(SpecExposure::All) => DefaultExposure::All,
            None => default.default_exposure,
        },
        meta_tools: meta_tools.unwrap_or(default.meta_tools),
        session_isolation: session_isolation.unwrap_or(default.session_isolation),
        max_tools: max_tools.unwrap_or(default.max_tools),
        min_score: min_score.map(|score| score.get()),
        memory: memory.unwrap_or(default.memory),
    }
}

fn llm(written: SpecLlm) -> Llm {
    let SpecLlm {
        provider,
        model,
        base_url,
        api_key_secret_ref,
        timeout,
        retry,
        circuit_breaker,
        cache,
        max_concurrent,
    } = written;
    let (retry, breaker) = (retry.unwrap_or_default(), circuit_breaker.unwrap_or_default());
    let cache = cache.unwrap_or_default();
    let (again, open, kept) = (Retry::default(), CircuitBreaker::default(), Cache::default());
    Llm {
        provider: match provider {
            LlmProvider::Gemini => Provider::Gemini,
            LlmProvider::OpenAI => Provider::OpenAI,
            LlmProvider::Anthropic => Provider::Anthropic,
            LlmProvider::OpenAICompatible => Provider::OpenAICompatible,
        },
        model,
        base_url,
        api_key: HeaderValue::File(file(&api_key_secret_ref)),
        timeout_ms: timeout.as_ref().map_or(LLM_TIMEOUT_MS, millis),
        retry: Retry {
            max_retries: retry.max_retries.unwrap_or(again.max_retries),
            initial_delay_ms: retry.initial_delay.as_ref().map_or(again.initial_delay_ms, millis),
            max_delay_ms: retry.max_delay.as_ref().map_or(again.max_delay_ms, millis),
            backoff_multiplier: retry.backoff_multiplier.unwrap_or(again.backoff_multiplier),
        },
        circuit_breaker: CircuitBreaker {
            failure_threshold: breaker.failure_threshold.unwrap_or(open.failure_threshold),
            reset_timeout_ms: breaker.reset_timeout.as_ref().map_or(open.reset_timeout_ms, millis),
        },
        cache: Cache {
            ttl_ms: cache.ttl.as_ref().map_or(kept.ttl_ms, millis),
            prewarm: cache.prewarm.unwrap_or(kept.prewarm),
        },
        max_concurrent: max_concurrent.unwrap_or(LLM_CONCURRENT),
    }
}
