//! `_pretty=true`: the same JSON with line breaks. Works on the text, so that numbers keep every digit and members their order.

/// Indentation of one level.
const STEP: &str = "  ";

/// Text that would become more than so many times as long stays as it is: indentation alone makes a hundredfold of what is deep.
const WIDER_MOST: usize = 8;

/// Breaks and indents JSON text that is well formed. Strings are copied as they are.
pub fn pretty(json: &str) -> String {
    let most = json.len().saturating_mul(WIDER_MOST);
    let mut out = String::with_capacity(json.len() + json.len() / 4);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        if out.len() > most {
            return json.to_owned();
        }
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                out.push(c);
                while chars.next_if(char::is_ascii_whitespace).is_some() {}
                let close = if c == '{' { '}' } else { ']' };
                if chars.next_if_eq(&close).is_some() {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_string = true;
                out.push(c);
            }
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(STEP, depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_space_changes() {
        let json = r#"{"a":[],"b":{},"n":1.00,"s":"{,:\"\\","l":[1e2,{"x":null}]}"#;
        let text = pretty(json);
        assert!(
            text.contains("\n  \"n\": 1.00,\n") && text.contains(r#""s": "{,:\"\\""#) && text.contains("\"a\": [],")
        );
        // An independent reader sees the same value.
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(json).unwrap(), serde_json::from_str(&text).unwrap());
        assert_eq!(before, after);
        assert_eq!(pretty(&text), text);
    }

    #[test]
    fn what_indentation_would_make_many_times_as_long_stays_as_it_is() {
        let deep = format!("{}{}1{}", "[".repeat(99), "1,".repeat(10_000), "]".repeat(99));
        assert_eq!(pretty(&deep), deep);
    }
}
