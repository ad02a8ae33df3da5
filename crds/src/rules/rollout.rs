//! Rules of `spec.rollout`.

use super::Row;

pub(super) const ROLLOUT: &[Row] = &[
    (
        "spec.rollout",
        "steps",
        "!has(self.steps) || !self.steps.all(s, type(s.traffic) == int) \
         || (self.steps.map(s, int(s.traffic)).isSorted() \
         && self.steps.all(s, self.steps.exists_one(t, int(t.traffic) == int(s.traffic))))",
        "the traffic of steps must rise strictly; give each step more than the one before",
    ),
    (
        "spec.rollout",
        "steps",
        "!has(self.steps) || self.steps.size() == 0 \
         || type(self.steps[self.steps.size() - 1].traffic) != int \
         || self.steps[self.steps.size() - 1].traffic == 100",
        "the last step must have traffic: 100; add it",
    ),
    (
        "spec.rollout.steps[]",
        "bake",
        "type(self.traffic) != int || self.traffic == 100 || has(self.bake) \
         || self.?pause.orValue(false)",
        "a step below 100 needs bake (how long it is watched) or pause: true",
    ),
    (
        "spec.rollout.steps[]",
        "bake",
        "type(self.traffic) != int || self.traffic < 100 || !has(self.bake)",
        "the step at 100 has no bake; write rollout.guard for the time after it",
    ),
    (
        "spec.rollout",
        "fastRollback",
        "self.?fastRollback.orValue(3) <= self.?historyLimit.orValue(10)",
        "fastRollback is more than historyLimit; write at most historyLimit, because older \
         revisions are deleted",
    ),
    (
        "spec",
        "rollout",
        "!has(self.rollout) || !has(self.rollout.rollback) || !has(self.rollout.rollback.flags) \
         || self.rollout.rollback.flags.all(f, f.name in ['hierarchicalTools', \
         'enumDescriptionsValidation', 'autoCorrection', 'enhancedErrorMessages', \
         'performanceMonitoring'] || (has(self.featureFlags) && has(self.featureFlags.custom) \
         && f.name in self.featureFlags.custom))",
        "rollout.rollback.flags names a flag that is neither built in nor in featureFlags.custom; \
         correct the name or add it there",
    ),
];

pub(super) const ROLLOUT_RULES: &[Row] = &[
    (
        "spec.rollout.rules[]",
        "",
        "has(self.metric) != has(self.query)",
        "a rule has either metric or query; write one of them",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "has(self.promoteWhen) || has(self.rollbackWhen) || has(self.compareToStable)",
        "this rule decides nothing; write promoteWhen, rollbackWhen or both",
    ),
    (
        "spec.rollout.rules[].promoteWhen",
        "",
        "has(self.atLeast) != has(self.atMost)",
        "promoteWhen has either atLeast or atMost; write one of them",
    ),
    (
        "spec.rollout.rules[].rollbackWhen",
        "",
        "has(self.below) != has(self.above)",
        "rollbackWhen has either below or above; write one of them",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!has(self.promoteWhen) || !has(self.rollbackWhen) \
         || has(self.promoteWhen.atLeast) == has(self.rollbackWhen.below)",
        "atLeast goes with below, and atMost goes with above; use one of these pairs",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!has(self.promoteWhen) || !has(self.rollbackWhen) \
         || (!has(self.promoteWhen.atLeast) || !has(self.rollbackWhen.below) \
         || double(self.promoteWhen.atLeast) >= double(self.rollbackWhen.below)) \
         && (!has(self.promoteWhen.atMost) || !has(self.rollbackWhen.above) \
         || double(self.promoteWhen.atMost) <= double(self.rollbackWhen.above))",
        "a value that rolls back would also promote; write a promoteWhen that is stricter than \
         rollbackWhen",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!(self.?metric.orValue('') in ['HubErrorRate', 'ToolErrorRate', 'UpstreamErrorRate', \
         'HubLatencyP95', 'LlmLatencyP95', 'CircuitBreakerOpen', 'MemoryGrowth']) \
         || (!has(self.promoteWhen) || !has(self.promoteWhen.atLeast)) && (!has(self.rollbackWhen) \
         || !has(self.rollbackWhen.below))",
        "this metric is bad when it is high; write promoteWhen.atMost and rollbackWhen.above",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!(self.?metric.orValue('') in ['Availability', 'LlmSuccessRate', 'SelectionRecall']) \
         || (!has(self.promoteWhen) || !has(self.promoteWhen.atMost)) && (!has(self.rollbackWhen) \
         || !has(self.rollbackWhen.above))",
        "this metric is bad when it is low; write promoteWhen.atLeast and rollbackWhen.below",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!(self.?metric.orValue('') in ['HubErrorRate', 'ToolErrorRate', 'UpstreamErrorRate', \
         'Availability', 'LlmSuccessRate', 'SelectionRecall']) \
         || [self.?promoteWhen.?atLeast.orValue('0'), self.?promoteWhen.?atMost.orValue('0'), \
         self.?rollbackWhen.?below.orValue('0'), self.?rollbackWhen.?above.orValue('0')].all(v, \
         double(v) <= 1.0)",
        "this metric is a share from 0 to 1; write \"0.10\" for 10%",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "!(self.?metric.orValue('') in ['HubErrorRate', 'ToolErrorRate', 'UpstreamErrorRate', \
         'Availability', 'LlmSuccessRate', 'SelectionRecall']) || !has(self.rollbackWhen) \
         || double(self.rollbackWhen.?above.orValue('0')) != 1.0 \
         && double(self.rollbackWhen.?below.orValue('1')) != 0.0",
        "a share is never above 1 or below 0, so this rule would never roll back; write a \
         threshold between them, as in \"0.10\" for 10%",
    ),
    // `histogram_quantile` never returns more than the largest finite bucket of the histogram.
    (
        "spec.rollout.rules[]",
        "",
        "self.?metric.orValue('') != 'HubLatencyP95' \
         || [self.?promoteWhen.?atMost.orValue('0'), \
         self.?rollbackWhen.?above.orValue('0')].all(v, double(v) < 60.0)",
        "HubLatencyP95 is in seconds and never above 60; write less than 60, as in \"0.5\" for \
         500 ms",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "self.?metric.orValue('') != 'LlmLatencyP95' \
         || [self.?promoteWhen.?atMost.orValue('0'), \
         self.?rollbackWhen.?above.orValue('0')].all(v, double(v) < 30.0)",
        "LlmLatencyP95 is in seconds and never above 30; write less than 30, as in \"5\" for 5 s",
    ),
    (
        "spec.rollout.rules[]",
        "tool",
        "!has(self.tool) || has(self.server)",
        "tool needs server: the name of the server that has the tool",
    ),
    (
        "spec",
        "rollout",
        "!has(self.rollout) || !has(self.rollout.rules) \
         || self.rollout.rules.all(r, !has(r.metric) || r.metric != 'SelectionRecall') \
         || (has(self.filtering) && has(self.filtering.goldenQuestions) \
         && self.filtering.goldenQuestions.size() > 0)",
        "a rule with metric SelectionRecall needs filtering.goldenQuestions: queries whose tools \
         are known; add some, or remove the rule",
    ),
    // A hub measures these metrics even if it gets no requests.
    (
        "spec.rollout.rules[]",
        "minSamples",
        "!has(self.minSamples) || !(self.?metric.orValue('') in ['SelectionRecall', \
         'CircuitBreakerOpen'])",
        "minSamples counts requests, but this metric is not measured on requests; remove it",
    ),
    (
        "spec.rollout.rules[]",
        "",
        "self.?metric.orValue('') != 'CircuitBreakerOpen' || (!has(self.promoteWhen) \
         && self.?rollbackWhen.?above.orValue('0') == '0')",
        "CircuitBreakerOpen is 0 or 1; write rollbackWhen: {above: \"0\", for: 2m}, without \
         promoteWhen",
    ),
];
