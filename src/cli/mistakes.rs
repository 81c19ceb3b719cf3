//! What clap found wrong with the command line, in the shape of every other message. Values are never repeated: one may be a link
//! or a name.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::arguments::{Arguments, STDIN_ONLY};
use super::message::Failure;
use crate::domain::refusal::{Code, Issue, nearest};

/// The failure of a parse error; `words` are the arguments as given. `None` where clap's own text is what was asked for (help,
/// version).
pub(crate) fn failure_of(error: &Error, words: &[String]) -> Option<Failure> {
    let failure = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return None;
        }
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => unknown(error, words),
        ErrorKind::MissingRequiredArgument => missing(error, words),
        ErrorKind::ArgumentConflict => {
            let flag = flag(error);
            Failure::flag(&flag, "does not go with another flag that was given", &see_help(words))
        }
        ErrorKind::ValueValidation => invalid(error, words),
        ErrorKind::InvalidValue => {
            let allowed = strings(error, ContextKind::ValidValue).join(", ");
            let fault =
                if allowed.is_empty() { "needs a value".to_owned() } else { format!("must be one of {allowed}") };
            Failure::flag(&flag(error), &fault, &see_help(words))
        }
        ErrorKind::MissingSubcommand => Failure::flag(&command(words), "needs a command after it", &see_help(words)),
        _ => Failure::flag(&flag(error), "is not written as it must be", &see_help(words)),
    };
    Some(failure)
}

fn unknown(error: &Error, words: &[String]) -> Failure {
    let kind = if error.kind() == ErrorKind::UnknownArgument {
        ContextKind::InvalidArg
    } else {
        ContextKind::InvalidSubcommand
    };
    let given = strings(error, kind).into_iter().next().unwrap_or_default();
    let name = given.split(['=', ' ']).next().unwrap_or_default().to_owned();
    let known = known_names(words);
    let is_flag = name.starts_with('-');
    if error.kind() == ErrorKind::UnknownArgument && !is_flag {
        let cure = format!("{}; a link or a patient is given as `-` and read from standard input", see_help(words));
        return Failure::flag("the last argument", "has no place here", &cure);
    }
    let near = nearest(&name, known.iter().map(String::as_str));
    let cure = near.map_or_else(|| see_help(words), |near| format!("use {near}"));
    let shown = if is_name(&name) { format!("`{name}`") } else { "of this name".to_owned() };
    Issue::new(Code::FlagUnknown).fill("name", shown).fill("cure", cure).into()
}

fn missing(error: &Error, words: &[String]) -> Failure {
    let mut missing = strings(error, ContextKind::InvalidArg);
    missing.iter_mut().for_each(|name| *name = without_values(name));
    let name = if missing.is_empty() { "a flag".to_owned() } else { missing.join(", ") };
    Failure::flag(&name, "is missing", &see_help(words))
}

/// `--id <ID>` is `--id`, and `<--link <->|--all>` is `--link or --all`.
fn without_values(usage: &str) -> String {
    let names = usage.trim_start_matches('<').split('|');
    let names = names.map(|name| name.split(" <").next().unwrap_or_default().trim_end_matches('>'));
    names.collect::<Vec<_>>().join(" or ")
}

fn invalid(error: &Error, words: &[String]) -> Failure {
    let flag = flag(error);
    let stdin = matches!(flag.as_str(), "--link" | "--patient");
    if stdin {
        let cure =
            format!("write it like `{flag} -` and paste the value; what stands on a command line stays in its history");
        return Failure::flag(&flag, STDIN_ONLY, &cure);
    }
    Failure::flag(&flag, "has a value that cannot be read", &see_help(words))
}

/// The flag that an error is about, without its value.
fn flag(error: &Error) -> String {
    let given = strings(error, ContextKind::InvalidArg).into_iter().next().unwrap_or_default();
    let name = given.split([' ', '=']).next().unwrap_or_default();
    if is_name(name) { name.to_owned() } else { "an argument".to_owned() }
}

fn is_name(name: &str) -> bool {
    let plain = name.trim_start_matches('-');
    (1..=32).contains(&plain.len()) && plain.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

fn strings(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// The words of the command line that are commands: `links revoke`.
fn path(words: &[String]) -> Vec<String> {
    let mut at = Arguments::command();
    let mut path = Vec::new();
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let Some(next) = at.find_subcommand(word.as_str()).cloned() else { continue };
        path.push(word.clone());
        at = next;
    }
    path
}

fn command(words: &[String]) -> String {
    std::iter::once("daylily".to_owned()).chain(path(words)).collect::<Vec<_>>().join(" ")
}

fn see_help(words: &[String]) -> String {
    format!("see `{} --help`", command(words))
}

/// Commands and flags that could stand where the mistake is.
fn known_names(words: &[String]) -> Vec<String> {
    let mut at = Arguments::command();
    let globals: Vec<String> = long_flags(&at);
    for word in path(words) {
        let Some(next) = at.find_subcommand(&word).cloned() else { break };
        at = next;
    }
    let commands = at.get_subcommands().map(|command| command.get_name().to_owned());
    commands
        .chain(long_flags(&at))
        .chain(globals)
        .chain(["--help".to_owned()])
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn long_flags(command: &clap::Command) -> Vec<String> {
    command.get_arguments().filter_map(|flag| flag.get_long()).map(|name| format!("--{name}")).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn told(line: &str) -> (String, u8) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = Arguments::try_parse_from(std::iter::once("daylily".to_owned()).chain(words.clone())).unwrap_err();
        let failure = failure_of(&error, &words).unwrap();
        (failure.render(&|_, text| text.to_owned()), failure.exit)
    }

    #[test]
    fn the_declarations_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_unknown_flag_or_command_is_told_with_the_nearest() {
        let (text, exit) = told("serve --lisen 127.0.0.1:1");
        assert_eq!(
            (text.as_str(), exit),
            ("error[flag-unknown]: there is no command or flag `--lisen`\n  = cure: use --listen\n", 2)
        );
        let (text, _) = told("server");
        assert!(text.contains("`server`") && text.contains("use serve"), "{text}");
        let (text, _) = told("links rewoke");
        assert!(text.contains("use revoke"), "{text}");
        let (text, _) = told("serve --frobnicate-all");
        assert!(text.contains("see `daylily serve --help`"), "{text}");
    }

    #[test]
    fn a_link_or_a_patient_on_the_command_line_is_refused_and_not_repeated() {
        for line in [
            "links revoke --link http://localhost/d/SECRET --reason x",
            "links revoke --patient Patient/SECRET --reason x",
            "audit export --patient Patient/SECRET",
            "links revoke http://localhost/d/SECRET",
            "links revoke --link=http://localhost/d/SECRET --reason x",
        ] {
            let (text, exit) = told(line);
            assert!(!text.contains("SECRET") && text.contains("standard input") && exit == 2, "{text}");
        }
    }

    #[test]
    fn what_is_missing_or_does_not_go_together_is_named() {
        let (text, exit) = told("links revoke --client ward-viewer");
        assert!(text.contains("--reason is missing") && exit == 2, "{text}");
        let (text, _) = told("links revoke --client a --all --reason x");
        assert!(text.contains("does not go with"), "{text}");
        let (text, _) = told("client add --id a --scope b");
        assert!(text.contains("--generate-key or --jwks or --jwks-uri is missing"), "{text}");
        let (text, _) = told("links revoke --reason x");
        assert!(text.contains("--link or --document or --client or --patient or --all is missing"), "{text}");
        for aim in ["--all", "--client a", "--patient -", "--link -"] {
            let (text, exit) = told(&format!("links revoke {aim} --state --reason x"));
            assert!(text.contains("does not go with another flag") && exit == 2, "{text}");
        }
        let (text, _) = told("audit export --format SECRET");
        assert!(text.contains("must be one of ndjson, csv, table") && !text.contains("SECRET"), "{text}");
    }

    #[test]
    fn help_is_no_mistake_and_has_an_example_for_every_command() {
        fn below(command: &clap::Command, out: &mut Vec<clap::Command>) {
            for sub in command.get_subcommands() {
                out.push(sub.clone());
                below(sub, out);
            }
        }
        let mut all = Vec::new();
        below(&Arguments::command(), &mut all);
        // 32 commands, and 9 that only group some of them.
        assert_eq!(all.len(), 40);
        for mut command in all {
            let help = command.render_help().to_string();
            assert!(help.contains("Example:\n  ") || help.contains("Examples:\n  "), "{}", command.get_name());
        }
        let error = Arguments::try_parse_from(["daylily", "serve", "--help"]).unwrap_err();
        assert!(failure_of(&error, &["serve".to_owned()]).is_none());
    }
}
