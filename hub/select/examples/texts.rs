//! Prints what the models see of each tool, a JSON object a line: `texts FILE`.
#![allow(clippy::print_stdout, reason = "its answer is its output")]

use std::error::Error;

use mcphub_select::bench;

mod files;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("say which file of tools")?;
    for tool in bench::tools(&files::text(&path)?, &path)? {
        let texts = tool.doc().texts();
        println!(
            "{}",
            serde_json::json!({"id": tool.id, "head": texts.head, "params": texts.params, "name": texts.name})
        );
    }
    Ok(())
}
