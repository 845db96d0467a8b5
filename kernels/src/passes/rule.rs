//! The rewrites of the passes, each with a name and its equation, and how often each was made.
//!
//! Passes tell every rewrite to a [`Hits`], which forgets it unless a test wants to know: an equation
//! that no test has ever tried is one that nobody knows to be true.

macro_rules! rules {
    ($($variant:ident = $text:literal,)*) => {
        /// A rewrite.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is documented by its equation")]
        pub enum Rule { $($variant,)* }

        impl Rule {
            /// Every rewrite, in order.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant,)*];

            /// The equation.
            pub fn text(self) -> &'static str {
                match self { $(Rule::$variant => $text,)* }
            }
        }
    };
}

rules! {
    // inline
    TailCall = "h(x) { …; h(y) } == h(x) { loop { …; x = y } }",
    InlineCall = "let v = h(a) == body of h; let v = its result",
    InlineVoid = "h(a) == body of h",
    InlineClear = "call in a loop == $x = 0; body",
    InlineReturn = "early return == break of a loop of one trip",
    InlineReturnLoop = "return from a loop == flag, break, if flag { break }",
    // unroll
    Unroll = "for i in 0..n { f(i) } == f(0); f(1); …",
    UnrollLoop = "$i = a; loop { if p($i) {} else { break }; f($i); $i = g($i) } == f(a); f(g(a)); …",
    // contract
    ContractAdd = "x * y + z == fma(x, y, z)",
    ContractSub = "z - x * y == fma(-x, y, z)",
    ContractFrom = "x * y - z == fma(x, y, -z)",
    // fold
    Constant = "op c… == the constant",
    Commute = "c + x == x + c",
    Chain = "(x + c) + d == x + (c + d)",
    AddZero = "x + 0 == x",
    SubZero = "x - 0 == x",
    OrZero = "x | 0 == x",
    XorZero = "x ^ 0 == x",
    ShlZero = "x << 0 == x",
    ShrZero = "x >> 0 == x",
    MulOne = "x * 1 == x",
    DivOne = "x / 1 == x",
    MulZero = "x * 0 == 0",
    AndZero = "x & 0 == 0",
    RemOne = "x % 1 == 0",
    SubSelf = "x - x == 0",
    XorSelf = "x ^ x == 0",
    ZeroDiv = "0 / x == 0",
    ZeroRem = "0 % x == 0",
    ZeroShl = "0 << x == 0",
    ZeroShr = "0 >> x == 0",
    AndOnes = "x & ~0 == x",
    OrOnes = "x | ~0 == ~0",
    XorOnes = "x ^ ~0 == not x",
    AndSelf = "x & x == x",
    OrSelf = "x | x == x",
    MinSelf = "min(x, x) == x",
    MaxSelf = "max(x, x) == x",
    ZeroSub = "0 - x == neg x",
    EqSelf = "x == x == true",
    LeSelf = "x <= x == true",
    GeSelf = "x >= x == true",
    NeSelf = "x != x == false",
    LtSelf = "x < x == false",
    GtSelf = "x > x == false",
    BelowZero = "u < 0 == false",
    NotBelowZero = "u >= 0 == true",
    EqTrue = "x == true == x",
    EqFalse = "x == false == not x",
    NeTrue = "x != true == not x",
    NeFalse = "x != false == x",
    FloatMulOne = "x * 1.0 == x",
    FloatDivOne = "x / 1.0 == x",
    FloatSubZero = "x - (+0.0) == x",
    FloatAddMinusZero = "x + (-0.0) == x",
    FloatDivPower = "x / 2ᵏ == x * 2⁻ᵏ",
    AddNeg = "x + neg y == x - y",
    SubNeg = "x - neg y == x + y",
    NotNot = "not not x == x",
    NegNeg = "neg neg x == x",
    AbsAbs = "abs abs x == abs x",
    AbsNeg = "abs neg x == abs x",
    NotComparison = "not (x < y) == x >= y",
    SelectSame = "select(c, x, x) == x",
    SelectConstant = "select(true, x, y) == x",
    SelectIs = "select(c, true, false) == c",
    SelectNot = "select(c, false, true) == not c",
    CastSame = "cast to the own type == x",
    BitcastSame = "bitcast to the own type == x",
    BitcastTwice = "bitcast (bitcast x) == bitcast x",
    CheckTrue = "check true == nothing",
    IfTrue = "if true {a} else {b} == a",
    IfFalse = "if false {a} else {b} == b",
    ForEmpty = "for over an empty range == nothing",
    LoopOnce = "loop { a; break } == a",
    AfterJump = "jump; a == jump",
    // forward
    ForwardSet = "$x = a; …; get $x == a",
    ForwardGet = "get $x; …; get $x == the first",
    ForwardZero = "get $x == 0",
    SetUnseen = "$x = a; $x = b == $x = b",
    SetSame = "$x = a; $x = a == $x = a",
    // cse
    SameValue = "op x y; …; op x y == the first",
    SameSwapped = "op x y; …; op y x == the first",
    SameLoad = "load p i; …; load p i == the first",
    SameCheck = "check c; …; check c == check c",
    // unswitch
    Unswitch = "for to b { check i < n } == if b <= n, the same loop, else the same loop",
    // checks
    ProvenCondition = "check c == nothing, under c",
    ProvenConstant = "check true == nothing",
    ProvenNot = "check not c == nothing, under not c",
    ProvenAnd = "check a & b == nothing, where both hold",
    ProvenOr = "check a | b == nothing, where one holds",
    ProvenLess = "check x < y == nothing, under x < y",
    ProvenInterval = "check x < y == nothing, by intervals",
    ProvenGrid = "check id < extent == nothing, on the own grid",
    ProvenRem = "check x % n < n == nothing",
    ProvenQuotient = "check x / z < y == nothing, under x < y",
    ProvenMin = "check min(a, b) < y == nothing, under a < y",
    ProvenChain = "check x < z == nothing, under x < y and y <= z",
    ProvenAtMost = "check x <= y == nothing, under x <= y",
    ProvenEqual = "check x == y == nothing, under x <= y and y <= x",
    ProvenUnequal = "check x != y == nothing, under x != y or x < y",
    ProvenOrNonzero = "check x | 1 != 0 == nothing",
    // strength
    MulPower = "x * 2ᵏ == x << k",
    MulMinusOne = "x * -1 == neg x",
    DivPower = "x / 2ᵏ == x >> k, unsigned",
    RemPower = "x % 2ᵏ == x & (2ᵏ - 1), unsigned",
    DivPowerSigned = "x / 2ᵏ == (x + bias) >> k, signed",
    RemPowerSigned = "x % 2ᵏ == x - ((x + bias) & -2ᵏ), signed",
    // dce
    DeadValue = "v = op … == nothing",
    DeadSet = "$x = a == nothing",
    DeadIf = "if c {} else {} == nothing",
    DeadFor = "for … {} == nothing",
    // hoist
    HoistFor = "for { v = op x y } == v = op x y; for {}",
    HoistLoop = "loop { v = op x y } == v = op x y; loop {}",
    // lower_math
    LowerExp = "exp x == its steps",
    LowerExp2 = "exp2 x == its steps",
    LowerLn = "ln x == its steps",
    LowerLog2 = "log2 x == its steps",
    LowerSin = "sin x == its steps",
    LowerCos = "cos x == its steps",
    LowerTan = "tan x == its steps",
    LowerTanh = "tanh x == its steps",
    LowerAsin = "asin x == its steps",
    LowerAcos = "acos x == its steps",
    LowerAtan = "atan x == its steps",
    LowerErf = "erf x == its steps",
    LowerPow = "pow x y == its steps",
    LowerAtan2 = "atan2 y x == its steps",
    LowerShared = "sin x; cos x == one reduction",
}

/// How often each rewrite was made, where that is asked for.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    counts: Option<Box<[u64]>>,
}

impl Hits {
    /// Counts nothing, at no cost.
    pub fn ignored() -> Hits {
        Hits::default()
    }

    /// Counts.
    pub fn counted() -> Hits {
        Hits { counts: Some(vec![0; Rule::ALL.len()].into()) }
    }

    /// A rewrite was made.
    pub(super) fn hit(&mut self, rule: Rule) {
        self.hit_times(rule, 1);
    }

    /// A rewrite was made so many times.
    pub(super) fn hit_times(&mut self, rule: Rule, times: usize) {
        if let Some(counts) = &mut self.counts {
            counts[rule as usize] += times as u64;
        }
    }

    /// How often the rewrite was made; 0 where it was not counted.
    pub fn count(&self, rule: Rule) -> u64 {
        self.counts.as_ref().map_or(0, |counts| counts[rule as usize])
    }
}
