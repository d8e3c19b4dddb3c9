"""One video, many questions one after the other: what the first computed of the video the next ones find there."""

from functools import partial

from pipeline.failures import PipelineError
from pipeline.manifest.questions import Question
from pipeline.manifest.time_range import TimeRange
from pipeline.method.selectors.registry import get_selector
from pipeline.models.interface import VideoModel
from pipeline.models.question_tokenizer import QuestionTokenizer
from pipeline.passes.kept_groups import KeptGroups
from pipeline.passes.video_answer import VideoAnswer
from pipeline.passes.whole_video import answer_groups, read_frames
from pipeline.planning.question_check import check_questions
from pipeline.planning.video_plan import plan_video
from pipeline.settings.config import RunConfig
from pipeline.video.frame_store.reading import FrameReader
from pipeline.video.isolated import IsolatedReader


class OpenVideo:
    """A planned video with its groups as far as they were needed; each answer is that of the question asked alone.

    Args:
        path: of the local file.
        fingerprint: of the video, for the frame store; ``uri`` is its address as it may be shown.
        model: loaded.
        tokenizer: of the model.
        config: its settings.
        time_range: the part that is asked about.

    Raises:
        PipelineError: The video cannot be read, exceeds a limit, or the range lies beyond its end.
        ValueError: It is to be decoded on the GPU, where frames stay with the pass that uses them.
    """

    def __init__(
        self,
        path: str,
        *,
        fingerprint: str,
        uri: str,
        model: VideoModel,
        tokenizer: QuestionTokenizer,
        config: RunConfig,
        time_range: TimeRange | None = None,
    ) -> None:
        if config.sampling.decoder == "nvdec":
            raise ValueError("sampling.decoder=nvdec keeps no video for further questions: use auto")
        self._model, self._config, self._tokenizer = model, config, tokenizer
        self._reader = IsolatedReader(config.reading, max_bad_frames_share=config.sampling.max_bad_frames_share)
        try:
            probe = self._reader.probe(path)
            selector = get_selector(config.method)
            self.plan = plan_video(probe, layout=model, selector=selector, config=config, time_range=time_range)
        except (PipelineError, ValueError):
            self._reader.close()
            raise
        store = FrameReader(self._reader, config.frame_store)
        self._decode = partial(store.decode, fingerprint=fingerprint, uri=uri)
        self._kept, self._bad_frames = KeptGroups.for_device(model.device), set[int]()

    def ask(self, question: Question) -> VideoAnswer:
        """Answer; reads and encodes only groups that no question before has needed.

        Raises:
            PipelineError: The question cannot be asked, the video cannot be read on, or too much of it is lost.
        """
        layout = self._model
        checked = check_questions([question], self.plan, tokenizer=self._tokenizer, layout=layout, config=self._config)
        if 0 in checked.refused:
            raise PipelineError(checked.refused[0].failure_class, checked.refused[0].message)
        try:
            return self._answer(question)
        except KeyboardInterrupt:  # the reply under way would be taken for that to the next request
            self._reader.close()
            raise

    def _answer(self, question: Question) -> VideoAnswer:
        frames = read_frames(self._decode, self.plan, self._config, self._bad_frames, self._kept)
        (answer,) = answer_groups(
            self.plan,
            frames,
            [question],
            model=self._model,
            config=self._config,
            bad_frames=self._bad_frames,
            kept=self._kept,
        )
        return answer

    def close(self) -> None:
        """End the process that reads."""
        self._reader.close()
