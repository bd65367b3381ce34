//! Random files that the grammar reads, laid out as badly as the language allows.

use flbc::syntax::{Home, Keyword, OptionWord, SCHEDULER_ALIASES};

/// A file, and the comments in it.
#[derive(Debug, Default)]
pub(crate) struct Generated {
    pub(crate) text: String,
    pub(crate) comments: Vec<String>,
}

/// Makes a file of a list of choices; where that ends, the simplest choice is made.
pub(crate) fn generate(choices: &[u8]) -> Generated {
    let mut file = File {
        choices: choices.iter(),
        out: Generated::default(),
    };
    if file.choose(8) == 7 {
        file.put("\u{FEFF}");
    }
    while file.choices.len() > 0 {
        file.item();
    }
    file.out
}

struct File<'c> {
    choices: std::slice::Iter<'c, u8>,
    out: Generated,
}

const WORDS: &[&str] = &[
    "web",
    "10.0.0.1",
    "tcp",
    "80",
    "weight",
    "$x",
    "\"eth0\"",
    "2001:db8::1",
    "drain",
    "server",
    "10.20.0.[11-13]:8080",
    "web[1-3]",
    "service",
    "5m",
    "any",
    "by",
    "é",
    "source/24",
    "on",
];

impl File<'_> {
    fn choose(&mut self, among: u8) -> u8 {
        self.choices.next().map_or(0, |choice| choice % among)
    }

    fn put(&mut self, text: &str) {
        self.out.text.push_str(text);
    }

    fn item(&mut self) {
        match self.choose(6) {
            0 => self.block("service", true),
            1 => self.block("pool", true),
            2 => self.block("defaults", false),
            3 => {
                let path = ["\"a.flb\"", "\"conf.d/*.flb\"", "\"a;b}{.flb\""];
                let path = path[self.choose(3) as usize];
                self.words(&["include", path]);
                self.end();
            }
            4 => {
                self.words(&["define", "office"]);
                let equals = [" = ", "=", "\t="][self.choose(3) as usize];
                self.put(equals);
                self.list();
                self.end();
            }
            _ => self.space(),
        }
    }

    fn block(&mut self, keyword: &str, named: bool) {
        self.put(keyword);
        if named {
            self.blank();
            self.word();
        }
        match self.choose(5) {
            0 => self.put(" {\n"),
            1 => self.put("{"),
            2 => self.put("\r\n\r\n\t{ "),
            3 => {
                self.comment();
                self.put("{");
            }
            _ => {
                self.comment();
                self.comment();
                self.put(" {");
                self.comment();
            }
        }
        for _ in 0..self.choose(6) {
            self.statement();
            self.end();
        }
        self.put("}");
        if self.choose(3) == 0 {
            self.put("\n");
        } else {
            self.end();
        }
    }

    /// Any statement that a service may hold: the table of words says which there are.
    fn statement(&mut self) {
        let all: Vec<Keyword> = Home::Service.statements().collect();
        let keyword = self.one_of(&all);
        match keyword {
            Keyword::Server => match self.choose(3) {
                0 => {
                    self.words(&["server", "10.0.0.1:80"]);
                    self.options();
                }
                1 => {
                    self.words(&["server", "weight", "10.0.0.1"]);
                    self.options();
                }
                _ => self.words(&["server", "$address", "drain"]),
            },
            Keyword::Vip => {
                self.words(&["vip"]);
                for _ in 0..3 {
                    self.blank();
                    self.list();
                }
            }
            Keyword::Mode => match self.choose(5) {
                0 => self.words(&["mode", "nat"]),
                1 => self.words(&["mode", "nat", "masquerade"]),
                2 => self.words_and_list(&["mode", "nat", "snat"]),
                3 => self.words_and_list(&["mode", "dr", "on"]),
                _ => {
                    self.words_and_list(&["mode", "dr", "on"]);
                    self.blank();
                    self.words(&["via", "eth1", "from", "02:00:00:00:00:01"]);
                }
            },
            Keyword::Scheduler => {
                let mut names: Vec<&str> =
                    SCHEDULER_ALIASES.iter().map(|(name, ..)| *name).collect();
                names.extend(["hash", "round-robin", "maglev"]);
                let name = self.one_of(&names);
                self.words(&["scheduler", name]);
                if self.choose(2) == 1 {
                    self.blank();
                    self.words(&["by", "source-port"]);
                }
                if self.choose(3) == 2 {
                    self.blank();
                    self.words(&["table", "251"]);
                }
            }
            Keyword::Persist => self.words(&["persist", "5m", "by", "source/24/64"]),
            Keyword::Track => self.words(&["track", "off"]),
            Keyword::OnEmpty => self.words(&["on-empty", "reject"]),
            Keyword::Allow => self.words_and_list(&["allow", "from"]),
            Keyword::Deny => self.words_and_list(&["deny", "from"]),
            Keyword::Pool => self.words(&["pool", "web"]),
            // These stand in no service; if one is asked for, the file is not read and the test fails.
            Keyword::Include | Keyword::Define | Keyword::Defaults | Keyword::Service => {
                self.words(&[keyword.text()]);
            }
        }
    }

    fn options(&mut self) {
        for _ in 0..self.choose(4) {
            self.blank();
            match self.one_of(OptionWord::ALL) {
                OptionWord::Weight => self.words(&["weight", "3"]),
                OptionWord::Mac => self.words(&["mac", "02:00:00:00:00:22"]),
                OptionWord::Via => self.words(&["via", "\"eth1\""]),
                OptionWord::Drain => self.words(&["drain"]),
                OptionWord::Down => self.words(&["down"]),
                OptionWord::Backup => self.words(&["backup"]),
            }
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        let among = u8::try_from(all.len()).unwrap();
        all[self.choose(among) as usize]
    }

    fn words(&mut self, words: &[&str]) {
        for (number, word) in words.iter().enumerate() {
            if number > 0 {
                self.blank();
            }
            self.put(word);
        }
    }

    fn words_and_list(&mut self, words: &[&str]) {
        self.words(words);
        self.blank();
        self.list();
    }

    fn list(&mut self) {
        self.word();
        let more = [0, 1, 2, 3, 30][self.choose(5) as usize];
        for _ in 0..more {
            match self.choose(7) {
                0 => self.put(", "),
                1 => self.put(","),
                2 => self.put("\t ,\t"),
                3 => self.put(",\n\n    "),
                4 => self.put(",\r\n"),
                5 => {
                    self.put(",");
                    self.comment();
                }
                _ => {
                    self.put(",\n");
                    self.comment();
                    self.put("\n");
                    self.comment();
                }
            }
            self.word();
        }
    }

    fn word(&mut self) {
        let number = self.choose(WORDS.len().try_into().unwrap());
        self.put(WORDS[number as usize]);
    }

    fn blank(&mut self) {
        let blank = [" ", "  ", "\t", " \t "][self.choose(4) as usize];
        self.put(blank);
    }

    fn end(&mut self) {
        match self.choose(6) {
            0 => self.put("\n"),
            1 => self.put(";"),
            2 => self.put(" ; "),
            3 => self.put("\r\n"),
            4 => self.comment(),
            _ => {
                self.put(" ;;");
                self.comment();
            }
        }
        self.space();
    }

    fn space(&mut self) {
        match self.choose(6) {
            0 | 1 => {}
            2 => self.put("\n\n\n"),
            3 => self.put("    "),
            4 => self.comment(),
            _ => {
                self.put("\n\n");
                self.comment();
                self.put("\n");
            }
        }
    }

    /// To the end of the line.
    fn comment(&mut self) {
        let number = self.out.comments.len();
        let text = match self.choose(4) {
            0 => format!("# {number}"),
            1 => format!("#{number} service x {{ ; }} \" #"),
            2 => format!("#{number},"),
            _ => format!("#\t{number} ä"),
        };
        let end = ["\n", "\r\n", "  \n"][self.choose(3) as usize];
        self.put(&text);
        self.put(end);
        self.out.comments.push(text);
    }
}
