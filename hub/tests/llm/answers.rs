//! Requests to providers, and the parsing of their responses.

use mcphub_hub_wire::config::Provider;
use rstest::rstest;
use serde_json::json;

use crate::provider::{KEY, ScriptedProvider, chooses, json_answer, question, says};

#[rstest]
#[case(Provider::Gemini, "/v1beta/models/m-1:generateContent", "x-goog-api-key", KEY.to_owned())]
#[case(Provider::OpenAI, "/v1/chat/completions", "authorization", format!("Bearer {KEY}"))]
#[case(
    Provider::OpenAICompatible, "/v1/chat/completions", "authorization", format!("Bearer {KEY}")
)]
#[case(Provider::Anthropic, "/v1/messages", "x-api-key", KEY.to_owned())]
#[tokio::test]
async fn each_provider_gets_its_format_and_its_order_of_tools_is_kept(
    #[case] provider: Provider,
    #[case] path: &str,
    #[case] header: &str,
    #[case] key: String,
) {
    let server =
        ScriptedProvider::start(move |_| chooses(provider, &["mail__send", "files__read"])).await;
    let llm = server.llm(provider);
    assert_eq!(llm.rank("send me the file").await, Ok(vec![2, 0]));
    let [request] = server.requests().try_into().unwrap();
    assert_eq!(
        (request.path.as_str(), request.headers[header].to_str().unwrap()),
        (path, key.as_str())
    );
    let version = request.headers.get("anthropic-version").map(|value| value.to_str().unwrap());
    assert_eq!(version, (provider == Provider::Anthropic).then_some("2023-06-01"));
    let question = question(&request);
    assert_eq!(question["request"], "send me the file");
    assert_eq!(question["tools"][1], json!({"id": "web__fetch", "description": "Fetches a page."}));
    for (kind, tokens) in [("input", 50), ("cached", 40), ("output", 9)] {
        assert_eq!(llm.metric("tokens_total", &[kind]), tokens, "{kind}");
    }
    assert_eq!(llm.metric("requests_total", &["ok"]), 1);
}

#[tokio::test]
async fn an_empty_list_is_a_valid_answer() {
    let server = ScriptedProvider::start(|_| chooses(Provider::OpenAI, &[])).await;
    assert_eq!(server.llm(Provider::OpenAI).rank("p").await, Ok(vec![]));
}

#[tokio::test]
async fn without_a_prompt_or_candidates_nothing_is_sent() {
    let server = ScriptedProvider::start(|_| chooses(Provider::OpenAI, &[])).await;
    let llm = server.llm(Provider::OpenAI);
    assert_eq!(llm.rank(" \n").await, Ok(vec![]));
    assert_eq!(llm.client.rank("p", &[], 5).await, Ok(vec![]));
    assert!(server.requests().is_empty());
}

// Older models reject response_format, and models that always think reject a required tool call.
#[rstest]
#[case(Provider::OpenAI, "/response_format/type", &["json_schema", "json_object"])]
#[case(Provider::OpenAICompatible, "/response_format/type", &["json_schema", "json_object", ""])]
#[case(Provider::Anthropic, "/tool_choice/type", &["tool", ""])]
#[case(Provider::Gemini, "/generationConfig/responseSchema/type", &["OBJECT", ""])]
#[tokio::test]
async fn a_model_that_rejects_an_output_mode_gets_the_next_one_from_then_on(
    #[case] provider: Provider,
    #[case] place: &'static str,
    #[case] styles: &'static [&'static str],
) {
    let style = move |body: &serde_json::Value| {
        body.pointer(place).and_then(|word| word.as_str()).unwrap_or("").to_owned()
    };
    let last = *styles.last().unwrap();
    let server = ScriptedProvider::start(move |request| {
        if style(&request.body) != last {
            return json_answer(
                400,
                json!({"error": {"type": "invalid_request_error", "message": "no such thing"}}),
            );
        }
        let mut answer = says(provider, &json!({"tools": ["web__fetch"]}));
        if provider == Provider::Anthropic {
            answer["content"] = json!([{"type": "text", "text": r#"{"tools":["web__fetch"]}"#}]);
        }
        json_answer(200, answer)
    })
    .await;
    let llm = server.llm(provider);
    assert_eq!(llm.rank("one").await, Ok(vec![1]));
    assert_eq!(llm.rank("two").await, Ok(vec![1]));
    let request: Vec<String> =
        server.requests().iter().map(|request| style(&request.body)).collect();
    assert_eq!(request, [styles, &[last]].concat());
    assert_eq!(llm.metric("requests_total", &["ok"]), 2, "a rejected output mode is not an error");
}

#[tokio::test]
async fn json_is_found_among_thoughts_and_words_of_a_model_without_structured_output() {
    let text = "<think>[\"mail__send\"]?</think>Here you are:\n\
                ```json\n{\"tools\": [\"files__read\"]}\n```";
    let server = ScriptedProvider::start(move |_| {
        json_answer(
            200,
            json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}),
        )
    })
    .await;
    assert_eq!(server.llm(Provider::OpenAICompatible).rank("p").await, Ok(vec![0]));
}
