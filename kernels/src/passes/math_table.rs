//! The constants behind [`super::math`]: one table for `f32`, one for `f64`.
//!
//! The polynomials are our own: interpolation at Chebyshev nodes in 200-bit arithmetic (mpmath),
//! rounded to the type, over the reduced range each function needs, widened by a hair. Those of the
//! inverse functions and of `erf` come from Remez' exchange in the same arithmetic, the error
//! weighted with what it does to the result: for `ln_erfc` with 1 − erf x, which falls so fast that few
//! coefficients do. Where a
//! constant is split, the high part has so few bits that its products with the counts it meets are
//! exact, which no fused multiplication can change. The forms are those of Cephes and fdlibm.

use crate::ir::Type;

/// Everything that the functions of one float type need. Polynomials start at the constant term.
#[derive(Debug)]
pub(super) struct Table {
    /// The float type itself.
    pub(super) ty: Type,
    /// The signed integer of the same width.
    pub(super) int: Type,
    /// The unsigned integer of the same width.
    pub(super) uint: Type,
    /// Bits in all.
    pub(super) width: u32,
    /// Bits of the stored mantissa.
    pub(super) mantissa: u32,
    /// Exponent of 1.0 as stored.
    pub(super) bias: i64,
    /// The bits of infinity.
    pub(super) infinity: u64,
    /// The bits of a NaN.
    pub(super) nan: u64,
    /// The bits of √½, where mantissas are cut.
    pub(super) sqrt_half: u64,
    /// Keeps the upper half of the significant bits: products of two such numbers are exact.
    pub(super) split: u64,
    /// The smallest normal number.
    pub(super) tiny: f64,
    /// Lifts subnormal numbers into the normal range.
    pub(super) lift: f64,
    /// The exponent of `lift`.
    pub(super) lift_exponent: i64,
    /// Below this `exp` is 0; above the other it is infinite.
    pub(super) exp_range: [f64; 2],
    /// The same for `exp2`.
    pub(super) exp2_range: [f64; 2],
    /// From here on `tanh` is 1.
    pub(super) tanh_max: f64,
    /// log₂ e.
    pub(super) log2_e: f64,
    /// ln 2, high part first.
    pub(super) ln2: [f64; 2],
    /// 1 / ln 2, high part first.
    pub(super) inv_ln2: [f64; 2],
    /// 2 / (3 ln 2), high part first, and both together.
    pub(super) cp: [f64; 3],
    /// log₂ 1.5, high part first.
    pub(super) log2_three_halves: [f64; 2],
    /// (eʳ − 1 − r) / r² for |r| ≤ ½ ln 2.
    pub(super) exp: &'static [f64],
    /// (2ʳ − 1) / r for |r| ≤ ½.
    pub(super) exp2: &'static [f64],
    /// (ln((1+s)/(1−s)) / s − 2) / z with z = s², for s ≤ (√2−1)/(√2+1).
    pub(super) ln: &'static [f64],
    /// (³⁄₂ ln((1+s)/(1−s)) / s − 3 − z) / z² with z = s², for s ≤ 0.1011.
    pub(super) ln_pow: &'static [f64],
    /// (sin r / r − 1) / z with z = r², for |r| ≤ π/4.
    pub(super) sin: &'static [f64],
    /// (cos r − 1 + z/2) / z² with z = r², for |r| ≤ π/4.
    pub(super) cos: &'static [f64],
    /// (atan t / t − 1) / z with z = t², for |t| ≤ tan π/8.
    pub(super) atan: &'static [f64],
    /// (asin r / r − 1) / z with z = r², for |r| ≤ ½.
    pub(super) asin: &'static [f64],
    /// erf x / x − 1 in x², below the first number of `erf_range`.
    pub(super) erf: &'static [f64],
    /// ln(1 − erf x) in x − 1, between both numbers of `erf_range`.
    pub(super) ln_erfc: &'static [f64],
    /// Where the series of `erf` is left for the other; from the second number on, `erf` is 1.
    pub(super) erf_range: [f64; 2],
    /// π/4, high part first; multiples of that up to 4 are exact.
    pub(super) pi_quarter: [f64; 2],
    /// 2/π.
    pub(super) two_over_pi: f64,
    /// How far the subtraction of multiples of π/2 in parts is good.
    pub(super) trig_near: f64,
    /// π/2 in parts whose products with every count below `trig_near` are exact, but the last.
    pub(super) pi_half_parts: &'static [f64],
    /// How many of those parts subtract without any rounding.
    pub(super) pi_half_exact: usize,
    /// π/2 rounded, and what that leaves out.
    pub(super) pi_half: [f64; 2],
    /// The binary digits of 2/π, `width` at a time, after as many zeros.
    pub(super) two_over_pi_digits: &'static [u64],
}

/// The table of a float type.
pub(super) fn table(ty: Type) -> &'static Table {
    if ty == Type::F32 { &SINGLE } else { &DOUBLE }
}

static SINGLE: Table = Table {
    ty: Type::F32,
    int: Type::I32,
    uint: Type::U32,
    width: 32,
    mantissa: 23,
    bias: 127,
    infinity: 0x7f80_0000,
    nan: 0x7fc0_0000,
    sqrt_half: 0x3f35_04f3,
    split: 0xffff_f000,
    tiny: 1.1754943508222875e-38,
    lift: 33554432.0,
    lift_exponent: 25,
    exp_range: [-104.0, 89.0],
    exp2_range: [-151.0, 129.0],
    tanh_max: 10.0,
    log2_e: 1.4426950216293335,
    ln2: [0.693145751953125, 1.428606765330187e-6],
    inv_ln2: [1.4423828125, 0.00031222839606925845],
    cp: [0.961669921875, 0.00012677205086220056, 0.9617967009544373],
    log2_three_halves: [0.5849609375, 1.5632211898264359e-6],
    exp: &[5.000000e-01, 1.6666667e-01, 4.1666463e-02, 8.3333105e-03, 1.3933686e-03, 1.989103e-04],
    exp2: &[
        6.931472e-01,
        2.402265e-01,
        5.550411e-02,
        9.618057e-03,
        1.3333502e-03,
        1.5461445e-04,
        1.5297324e-05,
    ],
    ln: &[6.666667e-01, 4.0000123e-01, 2.8550816e-01, 2.3330583e-01],
    ln_pow: &[6.000000e-01, 4.285552e-01, 3.375558e-01],
    sin: &[-1.6666667e-01, 8.333332e-03, -1.9840086e-04, 2.7249803e-06],
    cos: &[4.1666668e-02, -1.3888888e-03, 2.480060e-05, -2.7300857e-07],
    atan: &[-3.3333316e-01, 1.9998467e-01, -1.4243451e-01, 1.0593176e-01, -6.076557e-02],
    asin: &[1.666666e-01, 7.500512e-02, 4.4515483e-02, 3.181972e-02, 1.4394137e-02, 3.757776e-02],
    erf: &[
        1.2837917e-01,
        -3.7612626e-01,
        1.12836e-01,
        -2.6854437e-02,
        5.189518e-03,
        -8.0206664e-04,
        7.8884645e-05,
    ],
    ln_erfc: &[
        -1.8496056,
        -2.6389668,
        -8.431183e-01,
        -4.1500688e-02,
        9.890892e-03,
        -1.8261627e-03,
        1.8557381e-04,
    ],
    erf_range: [1.0, 3.925],
    pi_quarter: [0.78515625, 0.0002419134],
    two_over_pi: 0.6366197466850281,
    trig_near: 1e5,
    pi_half_parts: &[
        1.5703125,
        0.0004825592041015625,
        1.2665987014770508e-06,
        9.89530235528946e-10,
        2.5579538487363607e-12,
        5.390302953474238e-15,
    ],
    pi_half_exact: 2,
    pi_half: [1.5707963705062866, -4.371138828673793e-08],
    two_over_pi_digits: &[
        0,
        0xa2f9_836e,
        0x4e44_1529,
        0xfc27_57d1,
        0xf534_ddc0,
        0xdb62_9599,
        0x3c43_9041,
    ],
};

static DOUBLE: Table = Table {
    ty: Type::F64,
    int: Type::I64,
    uint: Type::U64,
    width: 64,
    mantissa: 52,
    bias: 1023,
    infinity: 0x7ff0_0000_0000_0000,
    nan: 0x7ff8_0000_0000_0000,
    sqrt_half: 0x3fe6_a09e_667f_3bcd,
    split: 0xffff_ffff_f800_0000,
    tiny: f64::MIN_POSITIVE,
    lift: 18014398509481984.0,
    lift_exponent: 54,
    exp_range: [-746.0, 710.0],
    exp2_range: [-1076.0, 1025.0],
    tanh_max: 22.0,
    log2_e: std::f64::consts::LOG2_E,
    ln2: [0.6931471805598903, 5.497923018708371e-14],
    inv_ln2: [1.4426950216293335, 1.9259629911266175e-08],
    cp: [0.9617966860532761, 7.872699542894897e-09, 0.9617966939259756],
    log2_three_halves: [0.5849625002592802, 4.618759766807897e-10],
    exp: &[
        0.5,
        0.1666666666666667,
        0.04166666666666667,
        0.008333333333326112,
        0.001388888888888373,
        0.0001984126987490126,
        2.4801587325605324e-05,
        2.7557255297969643e-06,
        2.755727357010214e-07,
        2.5105259538448494e-08,
        2.0914717341716378e-09,
    ],
    exp2: &[
        std::f64::consts::LN_2,
        0.24022650695910072,
        0.05550410866482158,
        0.009618129107628484,
        0.0013333558146428445,
        0.00015403530393362755,
        1.5252733804051129e-05,
        1.3215486815999978e-06,
        1.0178086021185474e-07,
        7.054894386348348e-09,
        4.4455303091051067e-10,
        2.5733568308756892e-11,
        1.3716962392737587e-12,
    ],
    ln: &[
        0.6666666666666666,
        0.4000000000000088,
        0.2857142857080323,
        0.2222222239180047,
        0.18181795630884753,
        0.15386240205813478,
        0.13268759668560612,
        0.13086767009948175,
    ],
    ln_pow: &[
        0.6,
        0.4285714285714263,
        0.33333333333681425,
        0.27272727068589675,
        0.23076980042979292,
        0.1999185084444627,
        0.1822319151747623,
    ],
    sin: &[
        -0.16666666666666666,
        0.008333333333330945,
        -0.00019841269836751364,
        2.7557316098812687e-06,
        -2.505113106573605e-08,
        1.5918073162923074e-10,
    ],
    cos: &[
        0.041666666666666664,
        -0.0013888888888887393,
        2.4801587298761176e-05,
        -2.755731726939027e-07,
        2.0876145780903544e-09,
        -1.1382597309861877e-11,
    ],
    atan: &[
        -0.3333333333333319,
        0.19999999999952983,
        -0.14285714280138243,
        0.11111110780666068,
        -0.09090897680663959,
        0.0769205889793818,
        -0.0666308963623439,
        0.05847788091651406,
        -0.05038863586194274,
        0.03805369963820864,
        -0.01789566371216593,
    ],
    asin: &[
        0.16666666666666763,
        0.07499999999970104,
        0.04464285717528654,
        0.03038194267489465,
        0.022372215926520604,
        0.017351594978846297,
        0.013981026255580066,
        0.01139722039962859,
        0.010789769355484537,
        0.00367037455898363,
        0.021795265692785316,
        -0.02112347587888543,
        0.03270648529689618,
    ],
    erf: &[
        0.12837916709551256,
        -0.3761263890318355,
        0.11283791670945234,
        -0.026866170643273037,
        0.005223977607396157,
        -0.0008548325988335136,
        0.00012055295278350303,
        -1.4924743828719408e-05,
        1.6447507094891837e-06,
        -1.6209092830117063e-07,
        1.3722608650392537e-08,
        -7.800488129442682e-10,
    ],
    ln_erfc: &[
        -1.8496055099332482,
        -2.638967514234791,
        -0.8431072563585148,
        -0.04156109804576218,
        0.010033825424146558,
        -0.001977902940539386,
        0.00023732429329235985,
        2.6271829517992564e-05,
        -2.714473563378247e-05,
        9.583893749364328e-06,
        -2.0273991700477435e-06,
        1.1135435431054484e-07,
        1.207331965292007e-07,
        -6.489942605907282e-08,
        2.024483745773989e-08,
        -4.487803590744481e-09,
        7.197568971836407e-10,
        -7.993022603684042e-11,
        5.5072912013694855e-12,
        -1.771573688888752e-13,
    ],
    erf_range: [1.0, 5.93],
    pi_quarter: [0.7853981633670628, 3.038550253253096e-11],
    two_over_pi: std::f64::consts::FRAC_2_PI,
    trig_near: 1e6,
    pi_half_parts: &[
        1.5707963267341256,
        6.077100506303966e-11,
        2.0222662487111665e-21,
        8.4784276603689e-32,
    ],
    pi_half_exact: 1,
    pi_half: [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17],
    two_over_pi_digits: &[
        0,
        0xa2f9_836e_4e44_1529,
        0xfc27_57d1_f534_ddc0,
        0xdb62_9599_3c43_9041,
        0xfe51_63ab_debb_c561,
        0xb724_6e3a_424d_d2e0,
        0x0649_2eea_09d1_921c,
        0xfe1d_eb1c_b129_a73e,
        0xe882_35f5_2ebb_4484,
        0xe99c_7026_b45f_7e41,
        0x3991_d639_8353_39f4,
        0x9c84_5f8b_bdf9_283b,
        0x1ff8_97ff_de05_980f,
        0xef2f_118b_5a0a_6d1f,
        0x6d36_7ecf_27cb_09b7,
        0x4f46_3f66_9e5f_ea2d,
        0x7527_bac7_ebe5_f17b,
        0x3d07_39f7_8a52_92ea,
        0x6bfb_5fb1_1f8d_5d08,
    ],
};
