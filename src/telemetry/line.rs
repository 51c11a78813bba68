//! A log line stays one line, and shows what it holds: control characters that the formatters let through are written as escapes
//! (failures.md row 34). Knows no format; the escapes are JSON's, which read well in lines for people, too.

use std::io::{self, Write};

/// Writes each log line it is given in one piece, its control characters escaped.
pub(super) struct LineWriter<W> {
    inner: W,
    /// Whether the formatter colours its lines: its own escape characters stay. It escapes those of fields itself.
    coloured: bool,
}

impl<W: Write> LineWriter<W> {
    pub(super) fn new(inner: W, coloured: bool) -> Self {
        Self { inner, coloured }
    }
}

impl<W: Write> Write for LineWriter<W> {
    /// Takes a whole line, as the formatters hand it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        match std::str::from_utf8(body) {
            Ok(text) if text.chars().any(|c| self.is_escaped(c)) => {
                let mut escaped = String::with_capacity(line.len() + 16);
                for c in text.chars() {
                    if self.is_escaped(c) {
                        // Beyond U+009F there is no control character: four digits hold them all.
                        escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
                    } else {
                        escaped.push(c);
                    }
                }
                escaped.push('\n');
                self.inner.write_all(escaped.as_bytes())?;
            }
            Ok(_) | Err(_) => self.inner.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W> LineWriter<W> {
    fn is_escaped(&self, c: char) -> bool {
        c.is_control() && !(self.coloured && c == '\u{1b}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(line: &str, coloured: bool) -> String {
        let mut out = Vec::new();
        LineWriter::new(&mut out, coloured).write_all(line.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_are_escaped_and_the_lines_end_is_not() {
        assert_eq!(
            written("a\nb\r\t\0\u{1b}[31m\u{7f}\u{9b}ü\n", false),
            "a\\u000ab\\u000d\\u0009\\u0000\\u001b[31m\\u007f\\u009bü\n"
        );
        assert_eq!(written("plain ü\n", false), "plain ü\n");
        assert_eq!(written("\u{1b}[31mred\u{1b}[0m\n\n", true), "\u{1b}[31mred\u{1b}[0m\\u000a\n");
    }

    #[test]
    fn a_json_line_says_the_same_afterwards() {
        let line = serde_json::json!({"message": "\u{7f}\u{85} \n"}).to_string() + "\n";
        let escaped = written(&line, false);
        assert!(!escaped.trim_end_matches('\n').chars().any(char::is_control));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap()["message"], "\u{7f}\u{85} \n");
    }
}
