//! What the selector finds in a small catalog of realistic tools.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use mcphub_hub_select::embedded::{Doc, Index, Memory, Models, Query, ToolRanking};
use proptest::prelude::*;

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::embedded(false).unwrap());
static FULL: LazyLock<Models> = LazyLock::new(|| Models::embedded(true).unwrap());

const fn tool<'a>(
    server: &'a str,
    name: &'a str,
    description: &'a str,
    schema: &'a str,
) -> Doc<'a> {
    Doc { server, name, description, schema }
}

const TOOLS: [Doc<'static>; 14] = [
    tool(
        "github",
        "create_issue",
        "Create a new issue in a GitHub repository",
        r#"{"properties":{"title":{"type":"string"},"body":{"type":"string"}}}"#,
    ),
    tool("github", "list_pull_requests", "List pull requests in a repository", ""),
    tool("github", "merge_pull_request", "Merge a pull request", ""),
    tool(
        "slack",
        "post_message",
        "Post a message to a Slack channel",
        r#"{"properties":{"channel_id":{"type":"string","description":"The channel"}}}"#,
    ),
    tool("slack", "list_channels", "List public channels in the workspace", ""),
    tool(
        "postgres",
        "query",
        "Run a read-only SQL query",
        r#"{"properties":{"sql":{"type":"string"}}}"#,
    ),
    tool("postgres", "describe_table", "Columns and types of a table", ""),
    tool(
        "weather",
        "getForecast",
        "Weather forecast for a location",
        r#"{"properties":{"latitude":{"type":"number"},"longitude":{"type":"number"}}}"#,
    ),
    tool("weather", "getAlerts", "Severe weather alerts of a state", ""),
    tool(
        "filesystem",
        "read_file",
        "Read the complete contents of a file",
        r#"{"properties":{"path":{"type":"string"}}}"#,
    ),
    tool("filesystem", "move_file", "Move or rename files and directories", ""),
    tool("カレンダー", "予定作成", "カレンダーに新しい予定を追加します", ""),
    tool("календарь", "создать_событие", "Создаёт новое событие в календаре", ""),
    tool("legacy", "xfer", "", ""),
];

fn rank(index: &Index, prompt: &str, limit: usize) -> ToolRanking {
    index.rank(&MODELS, &Query { prompt, visible: &|_| true, limit, memory: None })
}

fn first(prompt: &str) -> &'static str {
    let index = Index::build(&TOOLS, &MODELS);
    TOOLS[rank(&index, prompt, 3).hits[0].doc].name
}

#[test]
fn a_prompt_that_uses_the_words_of_a_tool_finds_it() {
    for (prompt, name) in [
        ("open an issue about the broken login in our repository", "create_issue"),
        ("merge the pull request", "merge_pull_request"),
        ("send a message to the #general channel on Slack", "post_message"),
        ("what will the weather be like in Oslo tomorrow?", "getForecast"),
        ("run a SQL query that counts the users", "query"),
        ("rename report.txt to final.txt", "move_file"),
        ("xfer", "xfer"),
    ] {
        assert_eq!(first(prompt), name, "{prompt}");
    }
}

#[test]
fn a_prompt_in_another_script_finds_its_tool() {
    assert_eq!(first("明日の予定を追加して"), "予定作成");
    assert_eq!(first("создай событие на завтра"), "создать_событие");
}

#[test]
fn a_prompt_in_another_language_finds_a_tool_that_is_described_in_english() {
    for (prompt, name) in [
        ("Wie wird das Wetter morgen in Oslo?", "getForecast"),
        ("明天奥斯陆的天气怎么样？", "getForecast"),
        ("내일 오슬로 날씨를 알려 줘", "getForecast"),
        ("Verschiebe die Datei bericht.txt in einen anderen Ordner", "move_file"),
        ("¿Qué tablas y columnas tiene la base de datos?", "describe_table"),
        ("Отправь сообщение в канал Slack", "post_message"),
        ("Slackのチャンネルにメッセージを送って", "post_message"),
    ] {
        assert_eq!(first(prompt), name, "{prompt}");
    }
}

#[test]
fn an_english_prompt_finds_a_tool_that_is_described_in_another_language() {
    let index = Index::build(&TOOLS, &MODELS);
    let mut names: Vec<_> = rank(&index, "put a new event into my calendar", 2)
        .hits
        .iter()
        .map(|hit| TOOLS[hit.doc].name)
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["создать_событие", "予定作成"]);
}

#[test]
fn an_empty_prompt_has_no_hits_and_nothing_fits() {
    let index = Index::build(&TOOLS, &MODELS);
    for prompt in ["", "  \n\t "] {
        let ranked = rank(&index, prompt, 5);
        assert_eq!((ranked.hits.len(), ranked.fits), (0, false));
    }
}

#[test]
fn an_empty_catalog_has_no_hits() {
    let index = Index::build(&[], &MODELS);
    assert_eq!((rank(&index, "anything", 5).hits, index.len()), (vec![], 0));
}

#[test]
fn the_transformer_finds_both_tools_of_a_prompt_that_asks_for_two_things() {
    let index = indexed(&TOOLS, &FULL);
    let prompt = "Will it rain tomorrow where my mother lives, and then tell my team in the chat \
                  that I am late";
    let ranked = index.rank(&FULL, &Query { prompt, visible: &|_| true, limit: 3, memory: None });
    let names: Vec<_> = ranked.hits.iter().map(|hit| TOOLS[hit.doc].name).collect();
    assert!(names.contains(&"getForecast") && names.contains(&"post_message"), "{names:?}");
}

#[test]
fn each_clause_of_a_prompt_has_its_tool_among_the_first_hits() {
    let index = Index::build(&TOOLS, &MODELS);
    let prompt = "Merge the pull request of Anna, then post a message to the Slack channel, and \
                  also rename the file report.txt to final.txt";
    let mut names: Vec<_> =
        rank(&index, prompt, 3).hits.iter().map(|hit| TOOLS[hit.doc].name).collect();
    names.sort_unstable();
    assert_eq!(names, ["merge_pull_request", "move_file", "post_message"]);
}

#[test]
fn in_a_small_catalog_the_right_tool_has_a_high_score_and_others_a_low_one() {
    let index = Index::build(&TOOLS, &MODELS);
    for prompt in [
        "merge the pull request",
        "run a SQL query that counts the users",
        "send a message to a Slack channel",
    ] {
        let hits = rank(&index, prompt, 5).hits;
        assert!(hits[0].score > 0.5 && hits[4].score < 0.2, "{prompt}: {hits:?}");
    }
}

/// An index with the vectors of its tools.
fn indexed(tools: &[Doc<'_>], models: &Models) -> Index {
    let index = Index::build(tools, models);
    let vectors =
        index.digests().iter().copied().zip(models.encode_docs(tools).into_iter().map(Arc::new));
    let vectors: HashMap<_, _> = vectors.collect();
    index.with_vectors(|digest| vectors.get(digest).cloned())
}

// Otherwise a score would tell a caller that a hidden tool exists.
#[test]
fn hidden_tools_change_no_score() {
    let hidden = [
        TOOLS[0],
        tool("secret", "create_issue", "Create a new issue in the secret tracker", ""),
        TOOLS[3],
        TOOLS[7],
    ];
    let visible_only = [TOOLS[0], TOOLS[3], TOOLS[7]];
    let positions = [0, usize::MAX, 1, 2];
    for models in [&*MODELS, &*FULL] {
        let (hidden, visible_only) = (indexed(&hidden, models), indexed(&visible_only, models));
        for prompt in ["create an issue in the secret tracker", "weather"] {
            let rank_where = |index: &Index, visible: &dyn Fn(usize) -> bool| {
                index.rank(models, &Query { prompt, visible, limit: 5, memory: None })
            };
            let mut with = rank_where(&hidden, &|doc| doc != 1);
            with.hits.iter_mut().for_each(|hit| hit.doc = positions[hit.doc]);
            assert_eq!(with, rank_where(&visible_only, &|_| true), "{prompt}");
        }
    }
}

#[test]
fn a_tool_with_a_similar_remembered_prompt_ranks_first() {
    let index = Index::build(&TOOLS, &MODELS);
    let prompt = "do the monthly thing for accounting";
    let mut memory = Memory::new();
    memory.remember(index.digests()[13], &MODELS.prompt_vector(prompt).unwrap());
    let query = Query {
        prompt: "the monthly thing for accounting, please",
        visible: &|_| true,
        limit: 3,
        memory: Some(&memory),
    };
    assert_eq!(TOOLS[index.rank(&MODELS, &query).hits[0].doc].name, "xfer");
}

#[test]
fn tools_with_dissimilar_remembered_prompts_do_not_outrank_the_right_tool_without_any() {
    let index = Index::build(&TOOLS, &MODELS);
    let mut memory = Memory::new();
    for (tool, prompt) in [
        (0, "open a ticket about the slow search"),
        (4, "which channels do we have?"),
        (6, "what is in the table of users?"),
    ] {
        memory.remember(index.digests()[tool], &MODELS.prompt_vector(prompt).unwrap());
    }
    let prompt = "what will the weather be like in Oslo tomorrow?";
    let query = Query { prompt, visible: &|_| true, limit: 3, memory: Some(&memory) };
    assert_eq!(TOOLS[index.rank(&MODELS, &query).hits[0].doc].name, "getForecast");
}

#[test]
fn of_two_versions_of_a_tool_of_one_server_the_second_ranks_last() {
    let mut tools = TOOLS.to_vec();
    tools.push(tool(
        "github",
        "create_issue",
        "Issues: opens one, with labels and people it is for",
        "",
    ));
    let index = Index::build(&tools, &MODELS);
    let hits: Vec<_> =
        rank(&index, "create an issue", 20).hits.iter().map(|hit| tools[hit.doc].name).collect();
    assert_eq!(
        (hits[0], hits.iter().filter(|name| **name == "create_issue").count()),
        ("create_issue", 2)
    );
    assert_ne!(hits[1], "create_issue");
}

// A server that gives two names means two tools.
#[test]
fn two_tools_of_one_server_whose_names_differ_in_a_dot_are_no_duplicates() {
    let mut tools = TOOLS.to_vec();
    tools.push(tool("github", "create.issue", "Open an issue in a repository from a template", ""));
    let index = Index::build(&tools, &MODELS);
    let mut hits: Vec<_> =
        rank(&index, "create an issue", 2).hits.iter().map(|hit| tools[hit.doc].name).collect();
    hits.sort_unstable();
    assert_eq!(hits, ["create.issue", "create_issue"]);
}

#[test]
fn of_the_same_tool_of_two_servers_the_second_ranks_last() {
    let mut tools = TOOLS.to_vec();
    tools.push(tool(
        "github-enterprise",
        "create_issue",
        "Create a new issue in a GitHub repository",
        "",
    ));
    let index = Index::build(&tools, &MODELS);
    let hits: Vec<_> =
        rank(&index, "create an issue", 20).hits.iter().map(|hit| tools[hit.doc].name).collect();
    assert_eq!(
        (hits[0], hits.iter().filter(|name| **name == "create_issue").count()),
        ("create_issue", 2)
    );
    assert_ne!(hits[1], "create_issue");
}

#[test]
fn fifty_thousand_tools_are_indexed_and_ranked() {
    let names: Vec<String> =
        (0..50_000).map(|n| format!("tool_{n}_{}", TOOLS[n % TOOLS.len()].name)).collect();
    let tools: Vec<Doc<'_>> =
        names.iter().zip(TOOLS.iter().cycle()).map(|(name, tool)| Doc { name, ..*tool }).collect();
    let index = Index::build(&tools, &MODELS);
    let hits = rank(&index, "merge the pull request", 10).hits;
    assert_eq!(hits.len(), 10);
    assert!(hits.iter().all(|hit| tools[hit.doc].name.ends_with("merge_pull_request")));
}

// A server may list anything. One odd tool must neither stop a search nor hide other tools.
#[test]
fn a_tool_without_description_or_with_an_odd_schema_is_found_beside_the_others() {
    let properties: Vec<String> =
        (0..20_000).map(|n| format!(r#""property_{n}":{{"type":"string"}}"#)).collect();
    let huge = format!(r#"{{"properties":{{{}}}}}"#, properties.join(","));
    let deep = format!("{}{{}}{}", r#"{"properties":{"a":"#.repeat(5_000), "}}".repeat(5_000));
    let cyclic = r##"{"properties":{"left":{"$ref":"#"}},"$defs":{"a":{"$ref":"#/$defs/a"}}}"##;
    let text = "word ".repeat(200_000);
    let mut tools = TOOLS.to_vec();
    tools.extend([
        tool("odd", "sprocket_huge", "", &huge),
        tool("odd", "sprocket_deep", "", &deep),
        tool("odd", "sprocket_cyclic", "", cyclic),
        tool("odd", "sprocket_none", "", "no JSON"),
        tool("odd", "sprocket_long", &text, ""),
        tool("odd", "", "", ""),
    ]);
    let index = Index::build(&tools, &MODELS);
    let names = |prompt: &str| -> Vec<&str> {
        rank(&index, prompt, 30).hits.iter().map(|hit| tools[hit.doc].name).collect()
    };
    let found = names("sprocket");
    for odd in ["huge", "deep", "cyclic", "none", "long"] {
        assert!(found.contains(&format!("sprocket_{odd}").as_str()), "{odd} in {found:?}");
    }
    assert_eq!(names("merge the pull request")[0], "merge_pull_request");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_prompt_and_any_tool_have_one_ranking_with_scores_from_0_to_1(
        prompt in any::<String>(),
        server in any::<String>(),
        name in any::<String>(),
        description in any::<String>(),
        limit in 0_usize..30,
    ) {
        let mut tools = TOOLS.to_vec();
        tools.push(tool(&server, &name, &description, ""));
        let index = Index::build(&tools, &MODELS);
        let ranked = rank(&index, &prompt, limit);
        prop_assert_eq!(&ranked, &rank(&index.with_vectors(|_| None::<Arc<_>>), &prompt, limit));
        prop_assert!(ranked.hits.len() <= limit);
        prop_assert!(ranked.hits.iter().all(|hit| (0.0..=1.0).contains(&hit.score)));
        prop_assert!((0.0..=1.0).contains(&ranked.fit_score));
    }
}
