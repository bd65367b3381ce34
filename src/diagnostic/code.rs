//! The stable name of each kind of fault. flb.5 explains every one; a test holds the two together.

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $severity:ident;)+) => {
        /// A kind of fault, with a name that never changes once released.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order in which flb.5 lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that messages show.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether a fault of this kind stops compilation.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    // Files
    /// A file that cannot be opened or read, or is not a regular file.
    UnreadableFile = "unreadable-file", Error;
    /// A file larger than flbc reads.
    FileTooLarge = "file-too-large", Error;
    /// A file that is not UTF-8 text.
    NotUtf8 = "not-utf8", Error;
    /// An included file that everybody may write.
    WorldWritable = "world-writable", Error;
    /// A file that includes itself, directly or through others.
    IncludeCycle = "include-cycle", Error;
    /// A file that was read before.
    IncludedTwice = "included-twice", Error;
    /// An include path that is empty or not a valid glob.
    BadInclude = "bad-include", Error;

    // Syntax
    /// A word that is no statement here.
    UnknownStatement = "unknown-statement", Error;
    /// A statement whose arguments do not have the right form.
    BadStatement = "bad-statement", Error;
    /// A block without its closing brace.
    UnclosedBlock = "unclosed-block", Error;
    /// A closing brace without a block.
    StrayBrace = "stray-brace", Error;
    /// A character that cannot stand in a flb file.
    BadCharacter = "bad-character", Error;
    /// A statement that stands in the wrong kind of block.
    MisplacedStatement = "misplaced-statement", Error;
    /// A statement that may be given once only, given again.
    RepeatedStatement = "repeated-statement", Error;
    /// `pool NAME { ... }` inside a service.
    NestedPool = "nested-pool", Error;

    // Names and constants
    /// A name with a character, a start or a length that names cannot have.
    BadName = "bad-name", Error;
    /// A constant that is used before it is defined, or never defined.
    UndefinedConstant = "undefined-constant", Error;
    /// A constant that was defined before.
    RedefinedConstant = "redefined-constant", Error;
    /// A constant that holds several values where one can stand.
    ListForOne = "list-for-one", Error;
    /// A list, or the VIPs of one `vip`, with more values than flbc takes.
    ListTooLong = "list-too-long", Error;
    /// A service name that was used before.
    DuplicateService = "duplicate-service", Error;
    /// A pool name that was used before.
    DuplicatePool = "duplicate-pool", Error;
    /// A server name that was used before in the same service or pool.
    DuplicateServer = "duplicate-server", Error;
    /// A pool that is nowhere declared.
    UndefinedPool = "undefined-pool", Error;
    /// The same pool twice in one service.
    RepeatedPool = "repeated-pool", Error;

    // Values
    /// A value that is not one of the words that can stand here.
    UnknownWord = "unknown-word", Error;
    /// Text that is not an address, or not one with a port.
    BadAddress = "bad-address", Error;
    /// A bare IPv6 address whose last group reads like a port.
    PortLikeAddress = "port-like-address", Error;
    /// Text that is not a prefix.
    BadPrefix = "bad-prefix", Error;
    /// Text that is not a port, a range of ports or `any`, or is out of range.
    BadPort = "bad-port", Error;
    /// Text that is not a number, or is out of range.
    BadNumber = "bad-number", Error;
    /// A weight outside 0 to 65535.
    BadWeight = "bad-weight", Error;
    /// Text that is not a duration.
    BadDuration = "bad-duration", Error;
    /// Text that is not a MAC address of one host.
    BadMac = "bad-mac", Error;
    /// Text that is not the name of an interface.
    BadInterface = "bad-interface", Error;
    /// A range of servers that cannot be expanded.
    BadServerRange = "bad-server-range", Error;

    // Meaning
    /// A service without a `vip`.
    NoVip = "no-vip", Error;
    /// A service or pool without a server.
    NoServer = "no-server", Error;
    /// An address, protocol and port that two `vip` claim, or overlapping ranges.
    VipClaimedTwice = "vip-claimed-twice", Error;
    /// An address that cannot be a VIP.
    ImpossibleVip = "impossible-vip", Error;
    /// An address that cannot be a real server.
    ImpossibleServer = "impossible-server", Error;
    /// VIPs of a family that has no server and no `on-empty`.
    FamilyMismatch = "family-mismatch", Error;
    /// A source address of a family that the service does not use, or two of one family.
    BadSnat = "bad-snat", Error;
    /// A server port in `dr` that differs from the VIP's.
    PortTranslationInDr = "port-translation-in-dr", Error;
    /// `mac`, `via` or `track` in `nat`.
    DrOnly = "dr-only", Error;
    /// A `via` interface whose own MAC address is needed and not given.
    NoSourceMac = "no-source-mac", Error;
    /// A scheduler that nf_tables cannot express.
    ImpossibleScheduler = "impossible-scheduler", Error;
    /// `by` or `table` with a scheduler that has none.
    SchedulerOption = "scheduler-option", Error;
    /// A Maglev table size that is not prime.
    TableNotPrime = "table-not-prime", Error;
    /// A Maglev table smaller than the number of servers, or too large.
    BadTableSize = "bad-table-size", Error;
    /// More real servers or slots than connection marks can tell apart.
    TooMany = "too-many", Error;

    // The output
    /// A statement that the format of the output has no words for.
    FormatCannotSay = "format-cannot-say", Error;

    // The kernel
    /// An interface that is not there when the rules are applied.
    NoSuchInterface = "no-such-interface", Error;
    /// A VIP that another table of flbc's has when the rules are applied.
    VipOfAnotherTable = "vip-of-another-table", Error;
    /// A table of flbc's name that another program made.
    StrangeTable = "strange-table", Error;
    /// Something that the kernel does not take.
    KernelRefused = "kernel-refused", Error;

    // Warnings
    /// A service whose interface is not there when the rules are applied.
    LeftOut = "left-out", Warning;
    /// A file that yields no service at all.
    NoService = "no-service", Warning;
    /// A pattern of `include` that no file matches.
    EmptyPattern = "empty-pattern", Warning;
    /// A pool that no service uses.
    UnusedPool = "unused-pool", Warning;
    /// A constant that nothing uses.
    UnusedConstant = "unused-constant", Warning;
    /// Weights that had to be rounded.
    RoundedWeights = "rounded-weights", Warning;
    /// A service that takes the port of SSH among others of an address.
    TakesSsh = "takes-ssh", Warning;
    /// A prefix with bits set beyond its length.
    HostBits = "host-bits", Warning;
    /// A source address of a family that no VIP of the service has.
    UnusedSnat = "unused-snat", Warning;
    /// VIPs of a family for which `snat` gives no source address.
    MissingSnat = "missing-snat", Warning;
    /// A real server of a family that no VIP of its service has.
    UnreachableServer = "unreachable-server", Warning;
    /// The same address and port twice among the servers of one service.
    RepeatedServer = "repeated-server", Warning;
    /// A backup that is one of the servers which it stands in for.
    BackupIsServer = "backup-is-server", Warning;
    /// A real server that is a VIP of the same files.
    ServerIsVip = "server-is-vip", Warning;
    /// A service whose servers all have weight 0; told by `flbc check` alone.
    AllWeightsZero = "all-weights-zero", Warning;
    /// UDP in direct return whose later fragments reach no server; told by `flbc check` alone.
    UdpFragments = "udp-fragments", Warning;
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
