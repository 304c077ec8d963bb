"""A distillation step as one writes it first, to hold ours against. Nothing in it is slow on purpose."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from redistill.networks.features import forward_with_features
from redistill.networks.schedule import noise_scheduler
from redistill.training.config import DistillConfig
from redistill.training.losses import kd_loss, mean_of, red_loss
from redistill.training.objective import aligned_features


class Pictures(Dataset):
    """Decoded pictures and their labels; each is transformed when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor, shift: bool) -> None:
        self.images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images.cpu()]
        self.labels = labels.tolist()
        side = images.shape[-1]
        steps = [transforms.RandomCrop(side, padding=side // 16, padding_mode="reflect")] if shift else []
        steps += [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.transform(self.images[place]), self.labels[place]


class PlainStep:
    """Called, it takes one step on copies of the student of `problem` and of `teacher`; returns the loss's parts."""

    def __init__(self, config: DistillConfig, problem: Any, teacher: nn.Module, workers: int) -> None:
        self.config, self.device = config, problem.device
        student, teacher = copy.deepcopy((problem.model, teacher))
        self.student = student.to(memory_format=torch.contiguous_format).train()
        self.teacher = teacher.to(memory_format=torch.contiguous_format).eval()
        pairs = aligned_features(config.student, student, teacher)
        self.mine, self.theirs = ([(pair[side], _whole) for pair in pairs] for side in (0, 1))
        self.optimizer = torch.optim.AdamW(student.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.diffusion = config.student.task == "diffusion"
        self.scheduler = noise_scheduler(config.prediction_type)
        pictures = Pictures(problem.train.images, problem.train.labels, shift=not self.diffusion)
        self.ready = 2 * workers  # batches that the workers make ahead, two each
        self.batches = self._endless(pictures, workers)

    def close(self) -> None:
        """End the workers; no further step can be taken."""
        self.batches.close()

    def held_tensors(self) -> list[Tensor]:
        """What is in memory between two steps."""
        modules: tuple[nn.Module, ...] = (self.student, self.teacher)
        tensors = [tensor for module in modules for tensor in module.state_dict().values()]
        tensors += [value for state in self.optimizer.state.values() for value in state.values()]
        return [tensor for tensor in tensors if tensor.device.type == self.device.type]  # not AdamW's step counts

    def __call__(self) -> dict[str, float]:
        images, labels = next(self.batches)
        images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        parts = self._diffusion_losses(images) if self.diffusion else self.losses((images,), labels)
        weights = self.config.weights
        loss = sum(weights[name] * value for name, value in parts.items())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), self.config.grad_clip)
        self.optimizer.step()
        return {name: value.item() for name, value in parts.items()}

    def losses(self, inputs: tuple[Tensor, ...], target: Tensor) -> dict[str, Tensor]:
        """Task loss, RED loss of whole feature maps, and KD where the settings have it; under autocast in bf16."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return self._losses(inputs, target)

    def _losses(self, inputs: tuple[Tensor, ...], target: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            theirs, teacher_maps = forward_with_features(self.teacher, inputs, self.theirs)
        mine, maps = forward_with_features(self.student, inputs, self.mine)
        red = mean_of([red_loss(s, t, self.config.distance) for s, t in zip(maps, teacher_maps, strict=True)])
        if self.diffusion:
            return {"task_loss": F.mse_loss(mine.sample, target), "red_loss": red}
        parts = {"task_loss": F.cross_entropy(mine, target), "red_loss": red}
        if self.config.kd_weight:
            parts["kd_loss"] = kd_loss(mine, theirs, self.config.temperature)
        return parts

    def _diffusion_losses(self, images: Tensor) -> dict[str, Tensor]:
        noise = torch.randn_like(images)
        times = torch.randint(self.scheduler.config.num_train_timesteps, (len(images),), device=self.device)
        noisy = self.scheduler.add_noise(images, noise, times)
        return self.losses((noisy, times), self.scheduler.get_velocity(images, noise, times))

    def _endless(self, pictures: Pictures, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        loader = DataLoader(
            pictures,
            self.config.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        while True:
            yield from loader


def _whole(features: Tensor) -> Tensor:
    return features
