//! Programs by their first bytes, and by the name under which a desktop would run them from an archive.

/// Whether `head`, the first bytes of something, is the start of a program: what a system loads (PE, ELF, Mach-O, Java,
/// Android, WebAssembly), a script with an interpreter line, or a file that a desktop runs when it is opened.
pub(super) fn starts(head: &[u8]) -> bool {
    const MAGICS: [&[u8]; 13] = [
        b"\x7fELF",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xce\xfa\xed\xfe",
        b"\xcf\xfa\xed\xfe",
        // Java class and Mach-O for several machines.
        b"\xca\xfe\xba\xbe",
        b"\xca\xfe\xba\xbf",
        b"\0asm",
        b"dex\n",
        b"dey\n",
        b"BC\xc0\xde",
        // Shell link ([MS-SHLLINK] 2.1): header size and the start of its class id.
        b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0",
        // Compiled HTML help, which runs script.
        b"ITSF\x03\0\0\0",
    ];
    MAGICS.iter().any(|magic| head.starts_with(magic)) || is_pe(head) || is_script(head)
}

/// `MZ`, unless it begins a text ("MZ" are initials as well): every DOS header holds bytes that no text has.
fn is_pe(head: &[u8]) -> bool {
    (head.starts_with(b"MZ") || head.starts_with(b"ZM"))
        && head.iter().take(64).any(|byte| *byte < 8 || (14..32).contains(byte))
}

/// Scripts that name their interpreter, and those that a desktop knows by their first line.
fn is_script(head: &[u8]) -> bool {
    const LINES: [&[u8]; 6] = [
        b"@echo off",
        b"[internetshortcut]",
        b"[autorun]",
        b"[desktop entry]",
        b"windows registry editor",
        b"regedit4",
    ];
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    if let Some(line) = text.strip_prefix(b"#!") {
        return line.iter().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b'/');
    }
    let text = text.trim_ascii_start();
    LINES.iter().any(|line| text.get(..line.len()).is_some_and(|start| start.eq_ignore_ascii_case(line)))
}

/// Whether a desktop runs a file of this name when it is opened: programs that no first bytes give away, being text.
/// Directories (`app.app/`) are not files.
pub(super) fn is_run_by_name(name: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 32] = [
        b"bat", b"cmd", b"com", b"cpl", b"dll", b"exe", b"hta", b"inf", b"jar", b"js", b"jse", b"lnk", b"mjs", b"msc",
        b"msh", b"msi", b"msp", b"pif", b"ps1", b"psm1", b"reg", b"scf", b"scr", b"sct", b"sh", b"url", b"vb", b"vbe",
        b"vbs", b"ws", b"wsf", b"wsh",
    ];
    // Windows drops spaces and dots at the end of a name.
    let end = name.iter().rposition(|byte| !matches!(byte, b' ' | b'.' | 0)).map_or(0, |at| at + 1);
    let name = name.get(..end).unwrap_or_default();
    let file = name.rsplit(|byte| matches!(byte, b'/' | b'\\')).next().unwrap_or_default();
    let mut parts = file.rsplitn(2, |byte| *byte == b'.');
    let ending = parts.next().unwrap_or_default();
    parts.next().is_some() && ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_their_first_bytes_and_texts_are_not_taken_for_them() {
        for program in [
            &b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff"[..],
            b"\x7fELF\x02\x01\x01\0",
            b"\xcf\xfa\xed\xfe\x07\0\0\x01",
            b"\xca\xfe\xba\xbe\0\0\0\x41",
            b"#!/bin/sh\nrm -rf /\n",
            b"#! /usr/bin/env python3\n",
            b"\r\n@ECHO OFF\r\ndel *.*\r\n",
            b"\xef\xbb\xbf[InternetShortcut]\r\nURL=file://x\r\n",
            b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F",
        ] {
            assert!(starts(program), "{program:?}");
        }
        for text in
            [&b"MZ, 54 y, seen today. Nothing to report."[..], b"#! important: fasting", b"# Report", b"%PDF-1.7", b""]
        {
            assert!(!starts(text), "{text:?}");
        }
    }

    #[test]
    fn names_are_judged_as_a_desktop_reads_them() {
        for name in [&b"x.exe"[..], b"dir/Report.PDF.js", b"a\\b.VBS", b"setup.bat. ", b"x.Ps1"] {
            assert!(is_run_by_name(name), "{name:?}");
        }
        for name in [&b"exe"[..], b"report.pdf", b"x.exe/report.pdf", b".js/", b"notes.json", b"a.com.txt", b""] {
            assert!(!is_run_by_name(name), "{name:?}");
        }
    }
}
