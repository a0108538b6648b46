//! Smooth weighted round robin, computed once for a set of servers and then only read.
//!
//! The order is nginx's: in each turn every server gains its weight, the one that has most is picked and pays the sum.
//! Over a whole sequence each server is picked exactly in proportion to its weight, and in no prefix of it more often than its
//! share rounded up.

/// Longest sequence of turns. Weights whose ratio needs a longer one are rounded to it; only more servers than this make
/// it longer, by giving each of them one turn.
pub const SEQUENCE_MAX: usize = 4096;

/// The order of turns for these weights; indices fit because there are fewer servers than addresses of a machine.
pub(super) fn sequence(weights: &[u32]) -> Box<[u32]> {
    let shares = shares(weights);
    if shares.iter().all(|&share| share == 1) {
        return (0..).take(shares.len()).collect();
    }
    let total: i64 = shares.iter().sum();
    let mut credit = vec![0; shares.len()];
    let turn = |_| {
        let mut best = 0;
        for (index, share) in shares.iter().enumerate() {
            credit[index] += share;
            if credit[index] > credit[best] {
                best = index;
            }
        }
        credit[best] -= total;
        best as u32
    };
    (0..total).map(turn).collect()
}

/// The weights in lowest terms, rounded so that their sum is at most [`SEQUENCE_MAX`], each at least 1.
fn shares(weights: &[u32]) -> Vec<i64> {
    let exact = reduced(weights.iter().map(|&weight| i64::from(weight.max(1))).collect());
    let total: i128 = exact.iter().map(|&share| i128::from(share)).sum();
    if total <= SEQUENCE_MAX as i128 {
        return exact;
    }
    // Rounding adds less than one turn a server: room for that is set aside.
    let room = SEQUENCE_MAX.saturating_sub(exact.len()) as i128;
    let scaled = |share: i64| ((i128::from(share) * room + total / 2) / total).max(1) as i64;
    reduced(exact.into_iter().map(scaled).collect())
}

fn reduced(mut shares: Vec<i64>) -> Vec<i64> {
    let divisor = shares.iter().copied().fold(0, gcd).max(1);
    for share in &mut shares {
        *share /= divisor;
    }
    shares
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn orders() {
        let table: [(&[u32], &[u32]); 7] = [
            (&[], &[]),
            (&[7], &[0]),
            (&[0, 0], &[0, 1]),
            (&[1000, 1000, 1000], &[0, 1, 2]),
            (&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]),
            (&[2, 1], &[0, 1, 0]),
            (&[4, 2, 2], &[0, 1, 2, 0]),
        ];
        for (weights, order) in table {
            assert_eq!(&*sequence(weights), order, "{weights:?}");
        }
    }

    #[test]
    fn extreme_weights_stay_bounded() {
        for weights in [
            vec![u32::MAX, 1],
            vec![u32::MAX; 3],
            vec![1000, 999, 997, 991, 983],
            [vec![1_000_003], vec![1; 4000]].concat(),
        ] {
            let order = sequence(&weights);
            assert!(order.len() <= SEQUENCE_MAX, "{}", order.len());
            for index in 0..weights.len() as u32 {
                assert!(order.contains(&index), "{index} never has a turn");
            }
        }
        assert_eq!(sequence(&vec![3; SEQUENCE_MAX + 10]).len(), SEQUENCE_MAX + 10);
        let mut many = vec![3; SEQUENCE_MAX + 10];
        many[0] = 4;
        assert_eq!(sequence(&many).len(), SEQUENCE_MAX + 10);
    }

    fn count(order: &[u32], index: usize) -> u64 {
        order.iter().filter(|&&turn| turn as usize == index).count() as u64
    }

    proptest! {
        #[test]
        fn exactly_proportional_and_smooth(weights in vec(1u32..=100, 1..12)) {
            let order = sequence(&weights);
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            for (index, &weight) in weights.iter().enumerate() {
                prop_assert_eq!(count(&order, index) * total, u64::from(weight) * order.len() as u64);
                let mut had = 0;
                for (turn, &picked) in order.iter().enumerate() {
                    had += u64::from(picked as usize == index);
                    let share = (u64::from(weight) * (turn as u64 + 1)).div_ceil(total);
                    prop_assert!(had <= share, "{weights:?}: server {index} had {had} of {share} turns by turn {turn}");
                }
            }
        }

        #[test]
        fn rounded_weights_stay_close(weights in vec(1u32..=1000, 1..40)) {
            let order = sequence(&weights);
            prop_assert!(order.len() <= SEQUENCE_MAX);
            let total: u32 = weights.iter().sum();
            for (index, &weight) in weights.iter().enumerate() {
                let share = count(&order, index) as f64 / order.len() as f64;
                let meant = f64::from(weight) / f64::from(total);
                prop_assert!(count(&order, index) >= 1);
                prop_assert!((share - meant).abs() < 0.01, "{weights:?}: server {index} has {share} of {meant}");
            }
        }
    }
}
