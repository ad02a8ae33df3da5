//! The categories that words suggest.

use super::BuiltinCategory;

/// A strong word names the category on its own. A weak word counts beside others.
const STRONG: u32 = 3;
const WEAK: u32 = 1;

macro_rules! meanings {
    ($($category:ident: strong [$($strong:literal)*] weak [$($weak:literal)*];)*) => {
        /// The categories that a word suggests; the word is in lower case and singular.
        pub(super) fn meanings(word: &str) -> &'static [(BuiltinCategory, u32)] {
            match word {
                $($($strong => &[(BuiltinCategory::$category, STRONG)],)*)*
                _ => weak(word),
            }
        }
        fn weak(word: &str) -> &'static [(BuiltinCategory, u32)] {
            match word {
                $($($weak => &[(BuiltinCategory::$category, WEAK)],)*)*
                _ => &[],
            }
        }
    };
}

meanings! {
    Filesystem:
        strong ["file" "directory" "folder" "filesystem" "fs" "pathname" "dropbox" "onedrive"
                "gdrive"]
        weak ["path" "disk" "zip" "unzip" "archive" "rename" "drive" "upload" "csv" "pdf"
              "attachment"];
    Web:
        strong ["url" "http" "https" "html" "webpage" "website" "browser" "fetch" "scrape" "crawl"
                "crawler" "scraper" "scraping" "sitemap" "playwright" "puppeteer" "selenium"
                "navigate" "firecrawl" "chrome" "chromium" "webdriver" "browserbase" "hyperlink"]
        weak ["web" "page" "link" "site" "click" "screenshot" "download" "cookie" "dom" "rss"
              "feed" "domain" "scroll" "hover" "seo" "webhook" "navigation" "viewport"];
    Search:
        strong ["search" "searching" "google" "brave" "duckduckgo" "tavily" "bing" "exa" "serp"
                "serpapi" "wikipedia" "arxiv" "perplexity" "pubmed" "scholar" "searxng" "kagi"
                "baidu"]
        weak ["find" "lookup" "result" "discover" "autocomplete" "paper" "article" "keyword"
              "citation" "research" "news"];
    Database:
        strong ["sql" "database" "db" "postgres" "postgresql" "mysql" "sqlite" "mongodb" "mongo"
                "redis" "bigquery" "snowflake" "clickhouse" "duckdb" "supabase" "neo4j" "cypher"
                "elasticsearch" "opensearch" "airtable" "qdrant" "chroma" "pinecone" "milvus"
                "dynamodb" "mariadb" "oracle" "mssql" "cassandra" "influxdb" "neon" "couchbase"
                "jdbc" "databrick" "trino" "graphql" "sparql" "weaviate" "firestore" "kafka"]
        weak ["query" "table" "schema" "row" "column" "record" "collection" "index" "transaction"
              "insert" "dataset" "warehouse" "embedding" "vector"];
    VersionControl:
        strong ["git" "github" "gitlab" "bitbucket" "gitea" "gitee" "commit" "repo" "repository"
                "branch" "gerrit" "svn" "mercurial"]
        weak ["pr" "pull" "merge" "diff" "fork" "release" "review" "stash" "rebase" "changelog"
              "tag"];
    Docker:
        strong ["docker" "container" "kubernetes" "kubectl" "k8" "k8s" "helm" "pod" "podman" "kube"
                "dockerfile" "openshift" "argocd" "istio"]
        weak ["namespace" "deployment" "cluster" "compose" "registry" "replica" "node"];
    Cloud:
        strong ["aws" "azure" "gcp" "cloud" "s3" "lambda" "ec2" "cloudflare" "terraform" "bucket"
                "vercel" "netlify" "heroku" "cloudwatch" "iam" "digitalocean" "pulumi" "serverless"
                "railway" "cdk" "fargate" "aliyun" "aiven"]
        weak ["region" "vm" "storage" "deploy" "hosting" "infrastructure" "subscription" "queue"
              "blob" "dns" "tenant" "provision" "scaling" "bedrock" "monitoring" "alarm" "metric"];
    Development:
        strong ["code" "coding" "debug" "debugger" "compile" "compiler" "lint" "npm" "pip" "jira"
                "linear" "sentry" "issue" "ticket" "sprint" "developer" "codebase" "refactor"
                "jenkin" "python" "javascript" "typescript" "rust" "java" "sdk" "ide" "programming"
                "stackoverflow" "openapi" "swagger" "terminal" "shell" "bash" "xcode" "devop" "gdb"
                "sonarqube" "circleci" "buildkite" "asana" "trello" "clickup" "vscode" "pytest"
                "gradle" "maven" "leetcode" "ghidra" "laravel" "django" "react"]
        weak ["test" "build" "package" "ci" "pipeline" "api" "project" "function" "library"
              "dependency" "script" "command" "log" "error" "regex" "workflow" "task"
              "documentation" "doc" "component" "framework" "snippet" "endpoint" "kanban" "backlog"
              "vulnerability" "unity" "figma" "execute"];
    Communication:
        strong ["email" "mail" "gmail" "message" "slack" "discord" "chat" "telegram" "whatsapp"
                "sms" "inbox" "outlook" "calendar" "meeting" "zoom" "twilio" "notification" "tweet"
                "twitter" "linkedin" "imap" "smtp" "mastodon" "bluesky" "reddit" "lark" "feishu"
                "dingtalk" "wechat" "mailbox" "messaging" "newsletter" "sendgrid"]
        weak ["send" "reply" "post" "event" "comment" "invite" "channel" "thread" "call" "phone"
              "attendee" "draft" "recipient" "subject" "notify" "contact" "conversation" "social"
              "follower" "appointment" "voice"];
}
