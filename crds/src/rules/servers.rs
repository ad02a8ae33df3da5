//! Rules of `spec.servers`.

use super::Row;

pub(super) const SERVERS: &[Row] = &[
    (
        "spec.servers[]",
        "",
        "!has(self.remote) || !has(self.container)",
        "both remote and container are set; keep one",
    ),
    (
        "spec.servers[]",
        "",
        "has(self.remote) || has(self.container)",
        "neither remote nor container is set; write remote with the url of a server, or container \
         with the image to run",
    ),
    // The name that clients see has at most 48 characters, including the prefix.
    (
        "spec.servers[]",
        "toolPrefix",
        "!has(self.toolPrefix) || self.toolPrefix.size() <= 24",
        "toolPrefix must have at most 24 characters; write a shorter one",
    ),
    (
        "spec.servers[]",
        "toolPrefix",
        "!has(self.toolPrefix) || self.toolPrefix != 'hub'",
        "toolPrefix hub is reserved for the hub's own tools; write another one",
    ),
    // It must be clear where the prefix ends in `a__b__c`.
    (
        "spec.servers[]",
        "toolPrefix",
        "!has(self.toolPrefix) || self.toolPrefix.matches('^([A-Za-z0-9]([-_]?[A-Za-z0-9])*)?$')",
        "toolPrefix must be letters and digits, with single '-' or '_' between them",
    ),
    (
        "spec.servers[]",
        "name",
        "has(self.toolPrefix) || self.name.size() <= 24",
        "a name of more than 24 characters cannot be the prefix of its tools; set toolPrefix as \
         well",
    ),
    (
        "spec.servers[]",
        "name",
        "has(self.toolPrefix) || self.name != 'hub'",
        "the prefix hub is reserved for the hub's own tools; set toolPrefix to another one",
    ),
    (
        "spec",
        "servers",
        "self.servers.size() == 1 || self.servers.all(s, !has(s.toolPrefix) || s.toolPrefix != '')",
        "an empty toolPrefix is only for a hub with one server; remove it, or write a prefix",
    ),
    // The API server itself reports a name that is there twice.
    (
        "spec",
        "servers",
        "self.servers.all(s, self.servers.all(t, t.name == s.name || (has(t.toolPrefix) ? \
         t.toolPrefix : t.name) != (has(s.toolPrefix) ? s.toolPrefix : s.name)))",
        "two servers have the same prefix (toolPrefix, or the name without one); give each its own",
    ),
    (
        "spec.servers[].tools",
        "rename",
        "!has(self.rename) || self.rename.all(k, self.rename[k].matches('^[A-Za-z0-9_-]{1,48}$'))",
        "the new name of a tool must be 1 to 48 letters, digits, '_' and '-'",
    ),
    (
        "spec.servers[].tools",
        "rename",
        "!has(self.rename) || self.rename.all(k, self.rename.exists_one(l, self.rename[l] == \
         self.rename[k]))",
        "two tools are renamed to the same name; give each its own",
    ),
];

pub(super) const REMOTE: &[Row] = &[
    (
        "spec.servers[].remote",
        "url",
        "isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] \
         && url(self.url).getHost() != ''",
        "write the url of the server's MCP endpoint, as in https://mcp.example.com/mcp",
    ),
    (
        "spec.servers[].remote",
        "url",
        "!isURL(self.url) || url(self.url).getPort() == '' || (url(self.url).getPort().size() <= 5 \
         && int(url(self.url).getPort()) >= 1 && int(url(self.url).getPort()) <= 65535)",
        "the port of the url must be between 1 and 65535; correct it",
    ),
    (
        "spec.servers[].remote",
        "url",
        "!self.url.matches('^[^/]*//[^/?#]*@')",
        "the url contains a user or password; put it into a Secret and send it as a header with \
         valueFrom.secretKeyRef",
    ),
    (
        "spec.servers[].remote",
        "url",
        "!self.url.matches('(?i)[?&][^=&]*(key|token|secret|password)=')",
        "the url contains a credential in its query; put it into a Secret and send it as a header \
         with valueFrom.secretKeyRef",
    ),
    (
        "spec.servers[].remote",
        "headers",
        "!has(self.headers) || self.headers.all(h, self.headers.exists_one(g, g.name.lowerAscii() \
         == h.name.lowerAscii()))",
        "two headers have the same name; keep one",
    ),
    (
        "spec.servers[].remote.headers[]",
        "",
        "has(self.value) != has(self.valueFrom)",
        "a header has either value or valueFrom; write one of them",
    ),
    (
        "spec.servers[].remote.headers[]",
        "value",
        "!has(self.value) || \
         !self.name.matches('(?i)^(proxy-)?authorization$|^cookie$|(^|[-_])\
         (api-?key|key|token|secret|password)$')",
        "this header contains a credential; put it into a Secret and write valueFrom.secretKeyRef \
         instead of value",
    ),
    (
        "spec.servers[].remote.headers[]",
        "name",
        "!self.name.matches('(?i)^(host|connection|content-length|content-type|\
         transfer-encoding|accept|mcp-.*|last-event-id)$')",
        "the hub sets this header itself; remove it",
    ),
];

pub(super) const CONTAINER: &[Row] = &[
    (
        "spec.servers[].container",
        "command",
        "self.?transport.orValue('Stdio') != 'Stdio' || (has(self.command) \
         && self.command.size() > 0)",
        "a Stdio server needs command: the program in the image that speaks MCP on its standard \
         input and output",
    ),
    (
        "spec.servers[].container",
        "port",
        "self.?transport.orValue('Stdio') != 'Http' || has(self.port)",
        "an Http server needs port: the port that it listens on",
    ),
    (
        "spec.servers[].container",
        "port",
        "self.?transport.orValue('Stdio') == 'Http' || !has(self.port)",
        "port is for transport: Http; remove it, or write the transport",
    ),
    (
        "spec.servers[].container",
        "path",
        "self.?transport.orValue('Stdio') == 'Http' || !has(self.path)",
        "path is for transport: Http; remove it, or write the transport",
    ),
    (
        "spec.servers[].container",
        "idleTimeout",
        "self.?transport.orValue('Stdio') == 'Stdio' || !has(self.idleTimeout)",
        "idleTimeout is for transport: Stdio; remove it",
    ),
    (
        "spec.servers[].container",
        "replicas",
        "self.?transport.orValue('Stdio') == 'Http' || self.?replicas.orValue(1) == 1",
        "a Stdio server has one pod; remove replicas (maxProcesses bounds its processes)",
    ),
    (
        "spec.servers[].container",
        "volumeMounts",
        "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes) \
         && self.volumes.exists(v, v.name == m.name))",
        "a volumeMount names a volume that is not in volumes; add it there",
    ),
    (
        "spec.servers[].container",
        "volumes",
        "!has(self.volumes) || self.volumes.all(v, !v.name.startsWith('mcphub-'))",
        "volume names that start with mcphub- are reserved for the operator; use another name",
    ),
    // A value in the resource is also in its revisions, for as long as they are kept.
    (
        "spec.servers[].container.env[]",
        "value",
        "!has(self.value) || \
         !self.name.matches('(?i)(^|_)(API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY|\
         TOKEN|SECRET|PASSWORD|PASSWD)$')",
        "this variable contains a credential; put it into a Secret and write \
         valueFrom.secretKeyRef instead of value",
    ),
    (
        "spec.servers[].container.sandbox",
        "runAsUser",
        "self.?runAsUser.orValue(65532) != 0 || !self.?runAsNonRoot.orValue(true)",
        "user 0 is root; write another runAsUser, or runAsNonRoot: false if the cluster allows it",
    ),
];
