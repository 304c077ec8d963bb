"""Losses against values worked out by hand or written out in numpy, sample by sample, in float64."""

import math

import numpy as np
import pytest
import torch

from redistill.training.feature_losses import (
    attention_loss,
    attention_map,
    channel_loss,
    gram,
    hint_loss,
    pkt_loss,
    rkd_loss,
    sp_loss,
    vid_loss,
)
from redistill.training.losses import dkd_loss, kd_loss, mlld_loss, pool_to_smaller, red_loss


def pair(*shape, other=None):
    """Two random float64 tensors, the same ones at every call."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(size, dtype=torch.float64, generator=generator) for size in (shape, other or shape))


def red(student, teacher, distance):
    values = []
    for s, t in zip(student.numpy(), teacher.numpy(), strict=True):
        s, t = s.mean(0).ravel(), t.mean(0).ravel()
        cosine = 1 - (s @ t) / math.sqrt(s @ s) / math.sqrt(t @ t)
        found = {"cosine": cosine, "mse": np.mean((s - t) ** 2), "correlation": 1 - np.corrcoef(s, t)[0, 1]}
        values.append(found[distance])
    return np.mean(values)


def softmax(x):
    e = [math.exp(v) for v in x]
    return [v / sum(e) for v in e]


def divergence(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def kd(student, teacher, temperature):
    rows = zip(student / temperature, teacher / temperature, strict=True)
    return np.mean([divergence(softmax(t), softmax(s)) for s, t in rows]) * temperature**2


def dkd(student, teacher, labels, temperature, alpha, beta):
    values = []
    for s, t, label in zip(student / temperature, teacher / temperature, labels.tolist(), strict=True):
        p, q = softmax(t), softmax(s)
        target = divergence([p[label], 1 - p[label]], [q[label], 1 - q[label]])
        p_others, q_others = ([x / (1 - r[label]) for i, x in enumerate(r) if i != label] for r in (p, q))
        values.append(alpha * target + beta * divergence(p_others, q_others))
    return np.mean(values) * temperature**2


def mlld(student, teacher, temperature):
    total = 0.0
    for at in (temperature * part / 4 for part in (2, 3, 4, 5, 6)):
        p, t = (np.array([softmax(row) for row in logits.numpy() / at]) for logits in (student, teacher))
        total += kd(student.numpy(), teacher.numpy(), at)
        for mine, theirs, count in ((p, t, len(p)), (p.T, t.T, p.shape[1])):  # pictures, then classes
            pairs = [(i, j) for i in range(len(mine)) for j in range(len(mine))]
            total += sum((mine[i] @ mine[j] - theirs[i] @ theirs[j]) ** 2 for i, j in pairs) / count
    return total / 5


def attention(student, teacher):
    errors = []
    for s, t in zip(student.numpy(), teacher.numpy(), strict=True):
        s, t = ((x**2).sum(0).ravel() for x in (s, t))
        errors.append((s / np.linalg.norm(s) - t / np.linalg.norm(t)) ** 2)
    return np.mean(errors)


def similarity(features):
    rows = [[float((a * b).sum()) for b in features] for a in features]
    return np.array([np.array(row) / math.sqrt(sum(v * v for v in row)) for row in rows])


def sp(student, teacher):
    return np.sum((similarity(student) - similarity(teacher)) ** 2) / len(student) ** 2


def huber(a, b):
    gap = abs(a - b)
    return gap - 0.5 if gap > 1 else 0.5 * gap**2


def rkd(student, teacher):
    student, teacher = student.numpy(), teacher.numpy()
    count = len(student)
    distances = []
    for x in (student, teacher):
        d = {(i, j): math.dist(x[i], x[j]) for i in range(count) for j in range(count)}
        mean = sum(d.values()) / (count * (count - 1))
        distances.append({key: value / mean for key, value in d.items()})
    distance = sum(huber(distances[0][key], distances[1][key]) for key in distances[0]) / count**2
    angle = 0.0
    for i in range(count):
        for j in range(count):
            for k in range(count):
                if len({i, j, k}) == 3:
                    cosines = [
                        np.dot(x[j] - x[i], x[k] - x[i]) / math.dist(x[j], x[i]) / math.dist(x[k], x[i])
                        for x in (student, teacher)
                    ]
                    angle += huber(*cosines) / count**3
    return 25 * distance + 50 * angle


def neighbours(x):
    count = len(x)
    unit = [row / math.sqrt(row @ row) for row in x]
    kernel = [[(1 + a @ b) / 2 for b in unit] for a in unit]
    return [[kernel[i][j] / (sum(kernel[i]) - kernel[i][i]) for j in range(count) if j != i] for i in range(count)]


def pkt(student, teacher):
    rows = zip(neighbours(teacher.numpy()), neighbours(student.numpy()), strict=True)
    return sum(divergence(p, q) for p, q in rows) / (len(student) * (len(student) - 1))


def vid(mean, variance, teacher):
    total = 0.0
    for place in np.ndindex(*mean.shape):
        sigma = math.sqrt(variance[place[1]])
        total += math.log(sigma) + (teacher[place] - mean[place]).item() ** 2 / (2 * sigma**2)
    return total / mean.numel()


LABELS = torch.tensor([0, 3, 2, 1, 3])
VARIANCE = torch.tensor([0.3, 2.0, 1.0, 0.01], dtype=torch.float64)
LOGITS, MAPS, WIDER, ROWS = (5, 4), (3, 4, 5, 6), (3, 7, 5, 6), (6, 5)
# The loss of a student's and a teacher's tensor, the same written out, and the shapes of the two.
REFERENCES = {
    "red cosine": (lambda s, t: red_loss(s, t, "cosine"), lambda s, t: red(s, t, "cosine"), MAPS, WIDER),
    "red mse": (lambda s, t: red_loss(s, t, "mse"), lambda s, t: red(s, t, "mse"), MAPS, WIDER),
    "red correlation": (
        lambda s, t: red_loss(s, t, "correlation"),
        lambda s, t: red(s, t, "correlation"),
        MAPS,
        WIDER,
    ),
    "mlld": (lambda s, t: mlld_loss(s, t, 3.0), lambda s, t: mlld(s, t, 3.0), LOGITS, LOGITS),
    "kd": (lambda s, t: kd_loss(s, t, 3.0), lambda s, t: kd(s, t, 3.0), LOGITS, LOGITS),
    "dkd": (
        lambda s, t: dkd_loss(s, t, LABELS, 4.0, 0.7, 8.0),
        lambda s, t: dkd(s, t, LABELS, 4.0, 0.7, 8.0),
        LOGITS,
        LOGITS,
    ),
    "hint": (hint_loss, lambda s, t: np.mean((s.numpy() - t.numpy()) ** 2), MAPS, MAPS),
    "at": (lambda s, t: attention_loss(attention_map(s), attention_map(t)), attention, MAPS, WIDER),
    "sp": (lambda s, t: sp_loss(gram(s), gram(t)), sp, MAPS, (3, 2, 4, 4)),
    "rkd": (rkd_loss, rkd, ROWS, (6, 8)),
    "vid": (lambda s, t: vid_loss(s, VARIANCE, t), lambda s, t: vid(s, VARIANCE.tolist(), t), MAPS, MAPS),
    "pkt": (pkt_loss, pkt, ROWS, (6, 8)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_losses_equal_a_reference(name):
    loss, reference, student_shape, teacher_shape = REFERENCES[name]
    student, teacher = pair(*student_shape, other=teacher_shape)
    expected = reference(student, teacher)
    assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert loss(student.float(), teacher.float()).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", REFERENCES)
def test_gradients_reach_the_student_alone(name):
    loss, _, *shapes = REFERENCES[name]
    student, teacher = (x.requires_grad_() for x in pair(*shapes[0], other=shapes[1]))
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert torch.isfinite(student.grad).all() and student.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "vid"])
def test_a_student_like_its_teacher_has_nothing_to_learn(name):
    student, _ = pair(*REFERENCES[name][2])
    student.requires_grad_()
    loss = REFERENCES[name][0](student, student.detach())
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert student.grad.abs().max() < 1e-9  # a number, not nan, where two pictures agree with themselves


def test_red_cosine_by_hand():
    # Channel means: student (1, 0, 0, 0) and (1, 1, 0, 0); teacher (0, 1, 0, 0) and (1, 0, 0, 0).
    student = torch.tensor([[[[2.0, 0], [0, 0]], [[0, 0], [0, 0]]], [[[1.0, 1], [0, 0]], [[1, 1], [0, 0]]]])
    teacher = torch.tensor([[[[0.0, 3], [0, 0]]], [[[5.0, 0], [0, 0]]]])
    expected = ((1 - 0) + (1 - 1 / math.sqrt(2))) / 2
    assert red_loss(student, teacher, "cosine").item() == pytest.approx(expected)


def test_dkd_by_hand():
    # At temperature 1 the teacher gives (1/2, 1/4, 1/4), the student (1/4, 1/4, 1/2); the true class is the first.
    teacher, student = torch.tensor([[2.0, 1, 1]]).log(), torch.tensor([[1.0, 1, 2]]).log()
    target = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    others = 0.5 * math.log((1 / 2) / (1 / 3)) + 0.5 * math.log((1 / 2) / (2 / 3))
    label = torch.tensor([0])
    assert dkd_loss(student, teacher, label, 1.0, alpha=3, beta=5).item() == pytest.approx(3 * target + 5 * others)
    # With the other classes weighted by the teacher's doubt it is KD.
    assert dkd_loss(student, teacher, label, 1.0, 1, 0.5).item() == pytest.approx(kd_loss(student, teacher, 1.0).item())


def test_multi_level_by_hand():
    # Two pictures of two classes: the teacher tells them apart, the student is unsure, so its products are all 1/2.
    student = torch.zeros(2, 2)
    gaps = []
    for at in (2.0, 3.0, 4.0, 5.0, 6.0):
        t = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).div(at).softmax(dim=1)
        same, other = (t[0, 0] ** 2 + t[0, 1] ** 2).item(), (2 * t[0, 0] * t[0, 1]).item()
        relations = 2 * (2 * (same - 0.5) ** 2 + 2 * (other - 0.5) ** 2) / 2
        gaps.append(relations + kd_loss(student, torch.eye(2), at).item())
    assert mlld_loss(student, torch.eye(2), 4.0).item() == pytest.approx(np.mean(gaps), rel=1e-5)


def test_correlation_does_not_see_what_all_places_share():
    student, teacher = pair(2, 3, 4, 4)
    shifted = red_loss(student + 10, teacher + 10, "correlation").item()
    assert shifted == pytest.approx(red_loss(student, teacher, "correlation").item())
    assert red_loss(student + 10, teacher + 10, "cosine").item() < 0.01 < shifted


def test_attention_by_hand():
    # Squares summed over channels: student (9, 16 + 0), teacher (1, 0); normalised (9, 16) / √337 and (1, 0).
    student, teacher = torch.tensor([[[[3.0, 0]], [[0.0, 4]]]]), torch.tensor([[[[-1.0, 0]]]])
    expected = ((9 / math.sqrt(337) - 1) ** 2 + (16 / math.sqrt(337)) ** 2) / 2
    assert attention_loss(attention_map(student), attention_map(teacher)).item() == pytest.approx(expected)


def test_similarity_by_hand():
    # Gram matrices: the student's pictures are orthogonal, the teacher's are equal.
    student, teacher = torch.eye(2).view(2, 2, 1, 1), torch.ones(2, 1, 2, 1)
    gap = (1 - 1 / math.sqrt(2)) ** 2 + 1 / 2
    assert sp_loss(gram(student), gram(teacher)).item() == pytest.approx(2 * gap / 4)


def test_relations_by_hand():
    # Three pictures: an equilateral triangle against 0, 1, 2 on a line. Distances over their mean: 1 against 3/4, 3/4
    # and 3/2. Cosines: 1/2 at every corner against 1, −1 and 1.
    triangle = torch.tensor([[0.0, 0], [1, 0], [0.5, math.sqrt(0.75)]])
    line = torch.tensor([[0.0], [1], [2]])
    distance = 2 * (2 * 0.5 * 0.25**2 + 0.5 * 0.5**2) / 9
    angle = 2 * (2 * 0.5 * 0.5**2 + (1.5 - 0.5)) / 27
    assert rkd_loss(triangle, line).item() == pytest.approx(25 * distance + 50 * angle, rel=1e-5)
    assert rkd_loss(triangle, line, 1, 0).item() == pytest.approx(distance, rel=1e-5)


def test_neighbours_by_hand():
    # Cosines 1 and 0 give kernels 1 and 1/2. Teacher: all pictures alike. Student: the third is orthogonal.
    student, teacher = torch.tensor([[1.0, 0], [2, 0], [0, 1]]), torch.ones(3, 1)
    first = 0.5 * math.log((1 / 2) / (2 / 3)) + 0.5 * math.log((1 / 2) / (1 / 3))
    assert pkt_loss(student, teacher).item() == pytest.approx(2 * first / 6, rel=1e-5)


def test_variational_by_hand():
    mean, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    variance = torch.tensor([1.0, 4.0])
    assert vid_loss(mean, variance, teacher).item() == pytest.approx((9 / 2 + math.log(2) + 1 / 8) / 2)


def test_equal_pictures_in_a_batch_give_numbers():
    """Distances and angles of 0, and embeddings that relu has emptied."""
    for loss in (rkd_loss, pkt_loss):
        for rows in (torch.zeros(4, 3), torch.ones(4, 3)):
            student = rows.clone().requires_grad_()
            value = loss(student, torch.randn(4, 2))
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(student.grad).all()


@pytest.mark.parametrize(
    ("shape", "distance", "words"),
    [((2, 3, 4, 5), "cosine", "equal batch, height and width"), ((2, 3, 4, 4), "l1", r"'l1'; expected one of")],
)
def test_red_refuses_what_does_not_align(shape, distance, words):
    with pytest.raises(ValueError, match=words):
        red_loss(torch.randn(2, 3, 4, 4), torch.randn(shape), distance)


@pytest.mark.parametrize(
    ("loss", "shapes", "words"),
    [
        (hint_loss, ((2, 3, 4, 4), (2, 5, 4, 4)), "expected one shape"),
        (attention_loss, ((2, 1, 4, 4), (2, 1, 4, 2)), "equal batch, height and width"),
        (sp_loss, ((1, 1), (1, 1)), "batch of at least 2"),
        (rkd_loss, ((2, 5), (2, 5)), "batch of at least 3"),
        (pkt_loss, ((1, 5), (1, 5)), "batch of at least 2"),
    ],
)
def test_what_cannot_be_compared_is_refused(loss, shapes, words):
    with pytest.raises(ValueError, match=words):
        loss(*(torch.randn(shape) for shape in shapes))


def test_pooling_to_the_smaller_size():
    student, teacher = torch.randn(2, 3, 4, 8), torch.arange(16.0).view(1, 1, 4, 4).expand(2, 1, 4, 4)
    same = pool_to_smaller(teacher, teacher)
    assert same[0] is teacher and same[1] is teacher
    pooled, kept = pool_to_smaller(student, teacher)
    assert kept is teacher and torch.allclose(pooled, (student[..., ::2] + student[..., 1::2]) / 2)
    _, half = pool_to_smaller(student[..., :2, :2], teacher)
    assert half[0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_red_by_channels_is_one_minus_the_correlation_of_channels():
    student, teacher = pair(3, 4, 5, 2)
    pairs = zip(student.flatten(0, 1).numpy(), teacher.flatten(0, 1).numpy(), strict=True)
    channels = [np.corrcoef(s.ravel(), t.ravel())[0, 1] for s, t in pairs]
    assert channel_loss(student, teacher).item() == pytest.approx(1 - np.mean(channels))
    assert channel_loss(3 * teacher + 2, teacher).item() == pytest.approx(0)
    assert channel_loss(-teacher, teacher).item() == pytest.approx(2)


def test_a_channel_that_is_the_same_everywhere_has_no_correlation_and_a_finite_gradient():
    student, teacher = pair(2, 3, 4, 4)
    student[:, 0] = 1.5
    student.requires_grad_()
    loss = channel_loss(student, teacher)
    loss.backward()
    rest = channel_loss(student[:, 1:], teacher[:, 1:])
    assert loss.item() == pytest.approx((1 + 2 * rest.item()) / 3) and student.grad.isfinite().all()
