//! Rules of `spec.filtering` and `spec.access`.

use super::Row;

pub(super) const MODES: &[Row] = &[
    (
        "spec.filtering",
        "static",
        "self.?mode.orValue('None') != 'Static' || self.?static.?tools.orValue([]).size() > 0",
        "mode Static needs static.tools: the names or patterns of the tools to show",
    ),
    // In other modes these tools are pinned, which has no effect if everything is listed.
    (
        "spec.filtering",
        "static",
        "!has(self.static) || self.?mode.orValue('None') in ['Static', 'PromptBased'] \
         || has(self.toolBudget)",
        "static is for mode: Static, and pins tools with mode: PromptBased or a toolBudget; write \
         one of these, or remove static",
    ),
    (
        "spec.filtering",
        "servers",
        "self.?mode.orValue('None') != 'ServerAllowlist' \
         || self.?servers.?allow.orValue([]).size() + self.?servers.?deny.orValue([]).size() > 0",
        "mode ServerAllowlist needs servers.allow or servers.deny: names of servers",
    ),
    (
        "spec.filtering",
        "servers",
        "!has(self.servers) || self.?mode.orValue('None') in ['ServerAllowlist', 'Hybrid']",
        "servers is for mode: ServerAllowlist or Hybrid; write one of them, or remove servers",
    ),
    (
        "spec.filtering",
        "categories",
        "self.?mode.orValue('None') != 'Category' || self.?categories.?expose.orValue([]).size() > \
         0",
        "mode Category needs categories.expose: the categories to show, as in [filesystem, web]",
    ),
    (
        "spec.filtering",
        "categories",
        "self.?categories.?expose.orValue([]).size() == 0 \
         || self.?mode.orValue('None') in ['Category', 'Hybrid']",
        "categories.expose is for mode: Category or Hybrid; write one of them, or remove expose",
    ),
    // If one half is missing, Any would show everything and All would equal the other mode.
    (
        "spec.filtering",
        "hybrid",
        "self.?mode.orValue('None') != 'Hybrid' || (self.?categories.?expose.orValue([]).size() > \
         0 && self.?servers.?allow.orValue([]).size() + self.?servers.?deny.orValue([]).size() > \
         0)",
        "mode Hybrid needs both servers (allow or deny) and categories.expose; add what is \
         missing, or write mode: ServerAllowlist or Category",
    ),
    (
        "spec.filtering",
        "hybrid",
        "!has(self.hybrid) || self.?mode.orValue('None') == 'Hybrid'",
        "hybrid is for mode: Hybrid; write that mode, or remove hybrid",
    ),
    (
        "spec.filtering",
        "promptBased",
        "!has(self.promptBased) || self.?mode.orValue('None') == 'PromptBased' \
         || ((has(self.toolBudget) || has(self.goldenQuestions)) \
         && !has(self.promptBased.defaultExposure) && !has(self.promptBased.metaTools) \
         && !has(self.promptBased.sessionIsolation))",
        "promptBased is for mode: PromptBased (with a toolBudget or goldenQuestions, maxTools, \
         minScore and memory apply in any mode); write that mode, or remove the other fields",
    ),
    (
        "spec.filtering",
        "promptBased",
        "self.?promptBased.?defaultExposure.orValue('MetaOnly') != 'Minimal' \
         || self.?static.?tools.orValue([]).size() > 0",
        "defaultExposure: Minimal shows the tools of static.tools; name them there",
    ),
    (
        "spec.filtering.promptBased",
        "metaTools",
        "self.?metaTools.orValue(true) || self.?defaultExposure.orValue('MetaOnly') in ['Minimal', \
         'All']",
        "without metaTools a session that starts without tools never gets one; write \
         defaultExposure: Minimal or All, or remove metaTools",
    ),
    (
        "spec.filtering.promptBased",
        "minScore",
        "!has(self.minScore) || double(self.minScore) <= 1.0",
        "minScore must be between 0 and 1, as in \"0.35\"; remove it to use the calibrated value",
    ),
];

pub(super) const NAMES: &[Row] = &[
    (
        "spec",
        "filtering",
        "!has(self.filtering) || !has(self.filtering.servers) \
         || !has(self.filtering.servers.allow) || self.filtering.servers.allow.all(n, \
         self.servers.exists(s, s.name == n))",
        "filtering.servers.allow names a server that is not in servers; correct the name or remove \
         it",
    ),
    (
        "spec",
        "filtering",
        "!has(self.filtering) || !has(self.filtering.servers) || !has(self.filtering.servers.deny) \
         || self.filtering.servers.deny.all(n, self.servers.exists(s, s.name == n))",
        "filtering.servers.deny names a server that is not in servers; correct the name or remove \
         it",
    ),
    (
        "spec.filtering",
        "categories",
        "!has(self.categories) || !has(self.categories.expose) || self.categories.expose.all(c, \
         c in ['filesystem', 'web', 'search', 'database', 'version-control', 'docker', 'cloud', \
         'development', 'communication', 'other'] || (has(self.categories.custom) \
         && self.categories.custom.exists(k, self.categories.custom[k] == c)))",
        "categories.expose names a category that is neither built in (filesystem, web, search, \
         database, version-control, docker, cloud, development, communication, other) nor in \
         categories.custom; correct the name or add it there",
    ),
    // Otherwise the name fits no tool, and everything is hidden without a word.
    (
        "spec",
        "filtering",
        "!has(self.filtering) || !has(self.filtering.static) || !has(self.filtering.static.tools) \
         || self.servers.exists(s, has(s.toolPrefix) && s.toolPrefix == '') \
         || self.filtering.static.tools.all(n, \
         n.contains('__') || n.contains('*') || n.contains('?'))",
        "filtering.static.tools has a name without the prefix of its server; write the name that \
         clients see, as in github__get_me",
    ),
    (
        "spec",
        "filtering",
        "!has(self.filtering) || !has(self.filtering.views) \
         || self.servers.exists(s, has(s.toolPrefix) && s.toolPrefix == '') \
         || self.filtering.views.all(v, !has(v.tools) || v.tools.all(n, \
         n.contains('__') || n.contains('*') || n.contains('?')))",
        "filtering.views has a tool without the prefix of its server; write the name that clients \
         see, as in github__get_me",
    ),
    (
        "spec",
        "filtering",
        "!has(self.filtering) || !has(self.filtering.views) \
         || self.filtering.views.all(v, !has(v.servers) \
         || v.servers.all(n, self.servers.exists(s, s.name == n)))",
        "filtering.views names a server that is not in servers; correct the name or remove it",
    ),
    (
        "spec",
        "access",
        "!has(self.access) || self.access.all(r, !has(r.servers) \
         || r.servers.all(n, self.servers.exists(s, s.name == n)))",
        "access names a server that is not in servers; correct the name or remove it",
    ),
    (
        "spec.filtering",
        "views",
        "!has(self.views) || self.views.all(v, !has(v.categories) || v.categories.all(c, \
         c in ['filesystem', 'web', 'search', 'database', 'version-control', 'docker', 'cloud', \
         'development', 'communication', 'other'] || (has(self.categories) \
         && has(self.categories.custom) && self.categories.custom.exists(k, \
         self.categories.custom[k] == c))))",
        "views names a category that is neither built in nor in categories.custom; correct the \
         name or add it there",
    ),
    (
        "spec.filtering.categories",
        "custom",
        "!has(self.custom) || self.custom.all(k, k != '' \
         && self.custom[k].matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        "categories.custom must map a pattern on shown names to a category of lowercase letters, \
         digits and '-', as in \"gh__*\": version-control",
    ),
];

pub(super) const LLM: &[Row] = &[
    (
        "spec.filtering",
        "llm",
        "self.?selector.?backend.orValue('Embedded') != 'Llm' || has(self.llm)",
        "selector.backend: Llm needs llm; add it, or write backend: Embedded",
    ),
    (
        "spec.filtering",
        "llm",
        "!has(self.llm) || self.?selector.?backend.orValue('Embedded') == 'Llm' \
         || self.?mode.orValue('None') in ['Category', 'Hybrid'] || (has(self.views) \
         && self.views.exists(v, has(v.categories)))",
        "llm selects tools (selector.backend: Llm) and categories (mode Category or Hybrid, a view \
         with categories), but nothing here uses it; write selector.backend: Llm, or remove llm",
    ),
    (
        "spec.filtering.llm",
        "baseUrl",
        "self.provider != 'OpenAICompatible' || has(self.baseUrl)",
        "provider OpenAICompatible needs baseUrl: the URL of its API, as in \
         https://llm.example.com/v1",
    ),
    (
        "spec.filtering.llm",
        "baseUrl",
        "!has(self.baseUrl) || (isURL(self.baseUrl) \
         && url(self.baseUrl).getScheme() in ['http', 'https'] \
         && url(self.baseUrl).getHost() != '')",
        "write baseUrl with http or https and a host, as in https://llm.example.com/v1",
    ),
    (
        "spec.filtering.llm",
        "baseUrl",
        "!has(self.baseUrl) || !isURL(self.baseUrl) || url(self.baseUrl).getPort() == '' \
         || (url(self.baseUrl).getPort().size() <= 5 && int(url(self.baseUrl).getPort()) >= 1 \
         && int(url(self.baseUrl).getPort()) <= 65535)",
        "the port of baseUrl must be between 1 and 65535; correct it",
    ),
    (
        "spec.filtering.llm",
        "baseUrl",
        "!has(self.baseUrl) || (!self.baseUrl.matches('^[^/]*//[^/?#]*@') \
         && !self.baseUrl.matches('(?i)[?&][^=&]*(key|token|secret|password)='))",
        "baseUrl contains a credential; put it into a Secret and write apiKeySecretRef",
    ),
];
