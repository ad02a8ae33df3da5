//! What providers are sent, and what is taken of their answers.

use mcphub_hub_wire::config::Provider;
use rstest::rstest;
use serde_json::json;

use crate::provider::{KEY, Scripted, chooses, json_answer, question, says};

#[rstest]
#[case(Provider::Gemini, "/v1beta/models/m-1:generateContent", "x-goog-api-key", KEY.to_owned())]
#[case(Provider::OpenAI, "/v1/chat/completions", "authorization", format!("Bearer {KEY}"))]
#[case(Provider::OpenAICompatible, "/v1/chat/completions", "authorization", format!("Bearer {KEY}"))]
#[case(Provider::Anthropic, "/v1/messages", "x-api-key", KEY.to_owned())]
#[tokio::test]
async fn each_provider_is_asked_in_its_format_and_its_choice_is_in_its_order(
    #[case] provider: Provider,
    #[case] path: &str,
    #[case] header: &str,
    #[case] key: String,
) {
    let server = Scripted::start(move |_| chooses(provider, &["mail__send", "files__read"])).await;
    let asked = server.llm(provider);
    assert_eq!(asked.rank("send me the file").await, Ok(vec![2, 0]));
    let [seen] = server.seen().try_into().unwrap();
    assert_eq!((seen.path.as_str(), seen.headers[header].to_str().unwrap()), (path, key.as_str()));
    let version = seen.headers.get("anthropic-version").map(|value| value.to_str().unwrap());
    assert_eq!(version, (provider == Provider::Anthropic).then_some("2023-06-01"));
    let question = question(&seen);
    assert_eq!(question["request"], "send me the file");
    assert_eq!(question["tools"][1], json!({"id": "web__fetch", "description": "Fetches a page."}));
    for (kind, tokens) in [("input", 50), ("cached", 40), ("output", 9)] {
        assert_eq!(asked.metric("tokens_total", &[kind]), tokens, "{kind}");
    }
    assert_eq!(asked.metric("requests_total", &["ok"]), 1);
}

#[tokio::test]
async fn nothing_fits_is_an_answer() {
    let server = Scripted::start(|_| chooses(Provider::OpenAI, &[])).await;
    assert_eq!(server.llm(Provider::OpenAI).rank("p").await, Ok(vec![]));
}

#[tokio::test]
async fn nothing_is_asked_about_nothing() {
    let server = Scripted::start(|_| chooses(Provider::OpenAI, &[])).await;
    let asked = server.llm(Provider::OpenAI);
    assert_eq!(asked.rank(" \n").await, Ok(vec![]));
    assert_eq!(asked.llm.rank("p", &[], 5).await, Ok(vec![]));
    assert!(server.seen().is_empty());
}

// Older models refuse response_format, and models that always think refuse to be made to call a tool.
#[rstest]
#[case(Provider::OpenAI, "/response_format/type", &["json_schema", "json_object"])]
#[case(Provider::OpenAICompatible, "/response_format/type", &["json_schema", "json_object", ""])]
#[case(Provider::Anthropic, "/tool_choice/type", &["tool", ""])]
#[case(Provider::Gemini, "/generationConfig/responseSchema/type", &["OBJECT", ""])]
#[tokio::test]
async fn a_model_that_refuses_one_style_is_asked_in_the_next_and_from_then_on_in_that(
    #[case] provider: Provider,
    #[case] place: &'static str,
    #[case] styles: &'static [&'static str],
) {
    let style = move |body: &serde_json::Value| {
        body.pointer(place).and_then(|word| word.as_str()).unwrap_or("").to_owned()
    };
    let last = *styles.last().unwrap();
    let server = Scripted::start(move |seen| {
        if style(&seen.body) != last {
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
    let asked = server.llm(provider);
    assert_eq!(asked.rank("one").await, Ok(vec![1]));
    assert_eq!(asked.rank("two").await, Ok(vec![1]));
    let seen: Vec<String> = server.seen().iter().map(|seen| style(&seen.body)).collect();
    assert_eq!(seen, [styles, &[last]].concat());
    assert_eq!(asked.metric("requests_total", &["ok"]), 2, "a style is not an error");
}

#[tokio::test]
async fn a_compatible_model_without_structure_may_think_and_talk() {
    let text = "<think>[\"mail__send\"]?</think>Here you are:\n```json\n{\"tools\": [\"files__read\"]}\n```";
    let server = Scripted::start(move |_| {
        json_answer(
            200,
            json!({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}),
        )
    })
    .await;
    assert_eq!(server.llm(Provider::OpenAICompatible).rank("p").await, Ok(vec![0]));
}
