//! Characters that are no text: they steer a terminal, or change in which order or whether what stands around them is seen. Refused in
//! what people and clients give to be kept, and escaped where anything kept is shown.

/// Whether a character steers instead of saying: the controls C0 and C1, line and paragraph separators, interlinear marks, and what is not
/// shown (`Default_Ignorable_Code_Point`, UAX #44), of every plane. Joiners and the variation selectors of the first plane, which names
/// and emoji are written with, and private use are text.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a text is one line without such characters.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(is_control)
}

/// The text with each such character written as JSON writes it (`\u009b`), but for those that `keeps` lets stand. Of a JSON text, in which
/// they stand within strings only, that is the same value.
pub fn escaped(text: &str, keeps: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) && !keeps(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a182_controls_of_every_plane_are_known_and_writing_is_not() {
        // ECMA-48's CSI in one byte, Unicode's Bidi_Control (UAX #9), line breaks, language tags of plane 14.
        for c in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{85}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}',
            '\u{2029}',
        ] {
            assert!(is_control(c), "{c:?}");
        }
        for c in ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}').chain('\u{e0020}'..='\u{e007f}') {
            assert!(is_control(c), "{c:?}");
        }
        // What nobody sees and text can be hidden in (DerivedCoreProperties.txt, Default_Ignorable_Code_Point).
        for c in ['\u{ad}', '\u{34f}', '\u{3164}', '\u{ffa0}'].into_iter().chain('\u{e0100}'..='\u{e01ef}') {
            assert!(is_control(c), "{c:?}");
        }
        assert!(is_plain("Ärztin, دکتر\u{200c}ها, 👩\u{200d}⚕️, \u{e000} \u{10fffd}") && !is_plain("a\u{9b}31m"));
    }

    proptest! {
        #[test]
        fn what_is_escaped_holds_no_control_and_json_stays_the_same_value(text in any::<String>(), more in "[\u{80}-\u{9f}\u{202a}-\u{202e}\u{e0020}-\u{e007f}]{0,9}") {
            let text = format!("{text}{more}");
            prop_assert!(is_plain(&escaped(&text, |_| false)));
            let json = serde_json::Value::String(text).to_string();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped(&json, |_| false)).unwrap().to_string(), json);
        }
    }
}
