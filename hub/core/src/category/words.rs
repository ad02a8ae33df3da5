//! Words and what they say of a tool.

use super::Builtin::{self, *};

/// Strong: the word alone names the category. Weak: it says something, beside others.
const STRONG: u32 = 3;
const WEAK: u32 = 1;

macro_rules! meanings {
    ($($category:ident: strong [$($strong:literal)*] weak [$($weak:literal)*];)*) => {
        /// The categories that a word, small and singular, speaks for.
        pub(super) fn meanings(word: &str) -> &'static [(Builtin, u32)] {
            match word {
                $($($strong => &[($category, STRONG)],)*)*
                _ => weak(word),
            }
        }
        fn weak(word: &str) -> &'static [(Builtin, u32)] {
            match word {
                $($($weak => &[($category, WEAK)],)*)*
                _ => &[],
            }
        }
    };
}

meanings! {
    Filesystem:
        strong ["file" "directory" "folder" "filesystem" "fs" "pathname"]
        weak ["path" "disk" "zip" "archive" "move" "rename" "drive" "upload"];
    Web:
        strong ["url" "http" "https" "html" "webpage" "website" "browser" "fetch" "scrape" "crawl" "crawler"
            "scraper" "sitemap" "playwright" "puppeteer" "selenium" "navigate" "firecrawl" "webhook" "chrome"]
        weak ["web" "page" "link" "site" "click" "screenshot" "download" "cookie" "dom" "tab" "rss" "feed" "domain"
            "markdown" "scroll" "hover"];
    Search:
        strong ["search" "searching" "google" "brave" "duckduckgo" "tavily" "bing" "exa" "serp" "wikipedia" "arxiv"
            "perplexity" "pubmed" "scholar"]
        weak ["find" "lookup" "result" "discover" "autocomplete" "paper" "article"];
    Database:
        strong ["sql" "database" "db" "postgres" "postgresql" "mysql" "sqlite" "mongodb" "mongo" "redis" "bigquery"
            "snowflake" "clickhouse" "duckdb" "supabase" "neo4j" "cypher" "elasticsearch" "airtable" "qdrant" "chroma"
            "pinecone" "milvus" "dynamodb" "mariadb" "oracle" "mssql" "cassandra" "influxdb" "neon"]
        weak ["query" "table" "schema" "row" "column" "record" "collection" "index" "transaction" "vector" "insert"
            "dataset" "warehouse"];
    VersionControl:
        strong ["git" "github" "gitlab" "bitbucket" "gitea" "commit" "repo" "repository" "pull" "merge" "branch" "diff"
            "gerrit" "svn" "fork"]
        weak ["pr" "release" "review" "stash" "rebase" "changelog"];
    Docker:
        strong ["docker" "container" "kubernetes" "kubectl" "k8" "k8s" "helm" "pod" "podman" "namespace" "kube"
            "dockerfile" "openshift"]
        weak ["image" "deployment" "cluster" "compose" "registry" "replica"];
    Cloud:
        strong ["aws" "azure" "gcp" "cloud" "s3" "lambda" "ec2" "cloudflare" "terraform" "bucket" "vercel" "netlify"
            "heroku" "cloudwatch" "iam" "digitalocean" "pulumi" "serverless" "dns" "railway"]
        weak ["instance" "region" "vm" "server" "storage" "deploy" "hosting" "worker" "infrastructure" "subscription"
            "account" "queue" "blob"];
    Development:
        strong ["code" "test" "build" "debug" "compile" "lint" "npm" "pip" "package" "jira" "linear" "sentry" "issue"
            "ticket" "sprint" "developer" "codebase" "refactor" "ci" "pipeline" "jenkin" "python" "javascript"
            "typescript" "rust" "java" "sdk" "ide" "snippet" "programming" "stackoverflow" "figma" "openapi" "swagger"
            "terminal" "shell" "bash" "unity" "xcode"]
        weak ["api" "project" "function" "library" "dependency" "script" "command" "execute" "run" "log" "error" "json"
            "regex" "version" "workflow" "task" "documentation" "doc" "component" "example" "framework" "process"];
    Communication:
        strong ["email" "mail" "gmail" "message" "slack" "discord" "chat" "telegram" "whatsapp" "sm" "sms" "channel"
            "inbox" "outlook" "calendar" "meeting" "zoom" "twilio" "notification" "tweet" "twitter" "linkedin" "contact"
            "imap" "smtp" "conversation" "mastodon" "bluesky" "reddit" "line" "lark" "feishu" "dingtalk" "wechat"]
        weak ["send" "reply" "post" "event" "comment" "invite" "user" "thread" "call" "phone" "attendee" "draft"
            "recipient" "subject" "notify" "publish" "social"];
}
